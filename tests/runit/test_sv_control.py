"""The scripts of `control/`, for every letter, under a real runsvdir and on a box: who runs, and who gets the signal."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.sandbox import wait_until
from support.sv_worlds import Ours, Theirs, need_runit

WORDS = {
    "a": "alarm", "c": "cont", "d": "down", "h": "hup", "i": "interrupt", "k": "kill", "p": "pause", "q": "quit",
    "t": "term", "u": "up", "x": "exit", "1": "1", "2": "2",
}  # fmt: skip
NOTED = "HUP ALRM INT QUIT USR1 USR2 CONT"
RUN = (
    f"for n in {NOTED}; do trap \"echo $n >>said\" $n; done\ntrap 'echo TERM >>said; exit 0' TERM\n"
    "mkfifo wait 2>/dev/null\nexec 3<>wait\necho run >>said\ntouch armed\nwhile :; do read line <&3; done\n"
)
# what stands for its signal, and what lets it pass; and who listens to a script that tells it another signal
SCRIPTS = {
    f"{how}-{letter}": {"run": RUN, f"control/{letter}": f'echo "control {letter} $#" >>said\n{end}\n'}
    for how, end in (("stands", "exit 0"), ("passes", "exit 1"))
    for letter in WORDS
}
SCRIPTS["all"] = {"run": RUN} | {
    f"control/{letter}": f"echo control {letter} >>said\nexit 1\n" for letter in WORDS if letter != "k"
}
SCRIPTS["hangs"] = {"run": RUN, "control/h": "echo control h >>said\nuntil [ -e go ]; do sleep 0.02; done\nexit 1\n"}
SCRIPTS["loud"] = {
    "run": RUN,
    "control/h": "echo from control\n",
    "finish": "echo from finish\n",
    "log/run": "exec cat >>../said\n",
}


@pytest.fixture
def worlds(sandbox, tmp_path):
    need_runit()
    with ThreadPoolExecutor(2) as pool:
        theirs = pool.submit(Theirs, tmp_path / "sv", SCRIPTS)
        ours = pool.submit(Ours, sandbox, SCRIPTS)
        both = (theirs.result(), ours.result())
    for world in both:
        wait_until(lambda world=world: all((where(world, name) / "armed").exists() for name in SCRIPTS), "all traps")
    both[0].leave_alone()
    yield both
    both[0].end()


def where(world, name):
    return world.folder / name if isinstance(world, Theirs) else world.folder / "services" / name


def said(world, name, but=()):
    """What a service and its scripts have said; signals and scripts that follow them are told side by side."""
    lines = (where(world, name) / "said").read_text().splitlines()
    return sorted(line for line in lines if line not in but)


def is_paused(world, name):
    pid = world.pid_of(name) if isinstance(world, Theirs) else world.sandbox.pids().get(f"{name}-run")
    return bool(pid) and Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T")


def same_in_both(worlds, names, but=()):
    def are_equal():
        return all(said(worlds[0], name, but) == said(worlds[1], name, but) for name in names)

    try:
        wait_until(are_equal, "the same", patience_s=10)
    except AssertionError:
        for name in names:
            assert said(worlds[1], name, but) == said(worlds[0], name, but), name


def in_both(worlds, *words):
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda world: world.sv(*words), worlds))


def test_a_script_may_stand_for_its_signal(worlds):
    for letter, word in WORDS.items():
        in_both(worlds, word, f"stands-{letter}", f"passes-{letter}")
    for letter in WORDS:
        wanted = [] if letter == "u" else [f"control {letter} 0"]
        for world in worlds:
            for name in (f"stands-{letter}", f"passes-{letter}"):
                wait_until(lambda w=world, n=name, x=wanted: set(x) <= set(said(w, n)), f"{name}: {wanted}")
    same_in_both(worlds, [name for name in SCRIPTS if name.startswith(("stands", "passes"))])
    assert [is_paused(world, name) for name in ("stands-p", "passes-p") for world in worlds] == [
        False,
        False,
        True,
        True,
    ]
    assert said(worlds[1], "stands-h") == ["control h 0", "run"]
    assert said(worlds[1], "passes-h") == ["HUP", "control h 0", "run"]
    assert said(worlds[1], "stands-t") == ["control t 0", "run"]
    assert "control u 0" in said(worlds[1], "stands-u")


def test_what_runs_before_a_start_and_after_a_stop(worlds):
    in_both(worlds, "-w", "10", "down", "all")
    in_both(worlds, "-w", "10", "up", "all")
    for world in worlds:
        wait_until(lambda world=world: said(world, "all").count("run") == 2, "its second start")
    in_both(worlds, "exit", "all")
    for world in worlds:
        wait_until(lambda world=world: "control x" in said(world, "all"), "the last script")
    same_in_both(worlds, ["all"], but={"CONT"})  # it follows TERM, and may find nobody any more
    told = (where(worlds[1], "all") / "said").read_text().splitlines()
    assert told[:3] == ["control u", "run", "control t"]
    assert sorted(told[3:6]) == ["CONT", "TERM", "control d"] or sorted(told[3:5]) == ["TERM", "control d"]


def test_letters_wait_for_the_script_before_them(worlds):
    in_both(worlds, "hup", "hangs")
    in_both(worlds, "1", "hangs")
    for world in worlds:
        wait_until(lambda world=world: "control h" in said(world, "hangs"), "the script")
        assert said(world, "hangs") == ["control h", "run"]
        (where(world, "hangs") / "go").touch()
        wait_until(lambda world=world: "USR1" in said(world, "hangs"), "both signals")
    same_in_both(worlds, ["hangs"])


def test_scripts_write_to_the_logger(worlds):
    in_both(worlds, "hup", "loud")
    for world in worlds:
        wait_until(lambda world=world: "from control" in said(world, "loud"), "the script")
    in_both(worlds, "-w", "10", "down", "loud")
    same_in_both(worlds, ["loud"])
    assert "from finish" in said(worlds[1], "loud")


def test_the_verbs_heed_them_too(sandbox):
    ours = Ours(sandbox, {"all": SCRIPTS["all"]})
    wait_until((where(ours, "all") / "armed").exists, "its traps")
    sandbox.run("restart")
    wait_until(lambda: said(ours, "all").count("run") == 2, "its second start")
    assert not {"control d", "control x"} & set(said(ours, "all"))
    sandbox.run("stop")
    assert said(ours, "all").count("control d") == 1
    sandbox.run("start")
    wait_until(lambda: said(ours, "all").count("run") == 3, "its third start")
    sandbox.run("down")
    assert [said(ours, "all").count(f"control {letter}") for letter in "dxtu"] == [1, 1, 3, 3]
    sandbox.run("up")
    wait_until(lambda: said(ours, "all").count("run") == 4, "its fourth start")
    os.kill(sandbox.daemon, 15)
    wait_until(lambda: said(ours, "all").count("control x") == 2, "the end by supervisord itself")
    wait_until(lambda: sandbox.marked() == {}, "nothing to be left")
