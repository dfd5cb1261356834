"""Every command of sv in every state of a service, typed to the real sv over a real runsvdir and to ours over a box.

Each pair has a service of its own. One command is typed for all states at once; the line about each service, the exit
code, and what `sv status` says of each once it has settled have to be the same, whether the process is the same one or
a new one included.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.chance import LONG
from support.sandbox import wait_until
from support.sv_worlds import Ours, Theirs, need_runit, normalised

IGNORED = "HUP ALRM INT QUIT USR1 USR2"  # so that nothing is to be seen that lasts for milliseconds
SLEEP = {"run": f"trap '' {IGNORED}\nexec sleep 1000\n"}
STUBBORN = {"run": f"trap '' TERM {IGNORED}\ntouch armed\nexec sleep 1000\n"}
FINISH = {"run": SLEEP["run"], "finish": "exec sleep 1000\n"}
LOG = {"log/run": "exec cat >/dev/null\n"}

# state → the directory, and what is typed to get there
STATES = {
    "running": (SLEEP, []),
    "down": (SLEEP, ["down"]),
    "normally-down": (SLEEP | {"down": ""}, []),
    "started": (SLEEP | {"down": ""}, ["up"]),
    "paused": (SLEEP, ["pause"]),
    "once": (SLEEP, ["down", "once"]),
    "want-down": (STUBBORN, ["down"]),
    "want-up": (STUBBORN, ["term"]),
    "finishing": (FINISH, ["kill"]),
    "finishing-down": (FINISH, ["down"]),
    "checked": (SLEEP | {"check": "exit 0\n"}, []),
    "failing-check": (SLEEP | {"check": "exit 1\n"}, []),
    "logged": (SLEEP | LOG, []),
    "logged-down": (SLEEP | LOG, ["down"]),
    "dies": ({"run": "exit 1\n"}, []),
}
PLAIN = ["up", "down", "once", "pause", "cont", "hup", "alarm", "interrupt", "quit", "1", "2", "term", "kill", "exit"]
LSB = ["start", "stop", "reload", "restart", "shutdown", "try-restart"]
LSB += ["force-stop", "force-reload", "force-restart", "force-shutdown"]
WAITING = [["-w", "1", word] for word in [*PLAIN, *LSB, "check"]]
COMMANDS = [["status"], *([word] for word in PLAIN), *WAITING]
FEW = [["status"], ["once"], ["pause"], ["term"]]
FEW += [["-w", "1", word] for word in ("up", "down", "once", "restart", "try-restart", "force-stop", "check")]
FEW += [["-w", "1", "exit"]]
SIZE = 10  # commands that share a runsvdir and a box
GROUPS = [COMMANDS[start : start + SIZE] for start in range(0, len(COMMANDS), SIZE)] if LONG else [FEW]
LETTER_X = {"exit", "shutdown", "force-shutdown"}


def name_of(state, words):
    return f"{state}-{'-'.join(words).replace('-w-1', 'w')}"


def cells_of(commands):
    """State → the names of its services, one for each command."""
    return {state: [name_of(state, words) for words in commands] for state in STATES}


def scripts_of(commands):
    return {name: STATES[state][0] for state, names in cells_of(commands).items() for name in names}


def get_there(world, commands):
    """Bring every service into its state, and let two whole seconds pass there, as sv compares whole ones."""
    cells = cells_of(commands)
    stubborn = [name for state, names in cells.items() if STATES[state][0] is STUBBORN for name in names]
    folder = world.folder if isinstance(world, Theirs) else world.folder / "services"
    wait_until(lambda: all((folder / name / "armed").exists() for name in stubborn), "all traps to be set")
    with ThreadPoolExecutor(len(STATES)) as pool:
        list(pool.map(lambda state: bring(world, state, cells[state]), STATES))
    old = [name for state, names in cells.items() if state != "dies" for name in names]
    wait_until(lambda: all(youngest(line) >= 2 for line in world.status(*old).values()), "time to pass")


def bring(world, state, names):
    words = STATES[state][1]
    wait_until(lambda: has_begun(world, state, names), f"{state} to begin")
    for word in words[:-1]:
        world.sv(word, *names)
        wait_until(lambda: is_down(world, names), f"{state} to be down")
    if words:
        world.sv(words[-1], *names)
        wait_until(lambda: is_there(world, state, names), state)


def has_begun(world, state, names):
    wanted = {"normally-down": r"down: ", "started": "down: ", "dies": r""}.get(
        state, r"run: .*; run: log" if "logged" in state else r"run: "
    )
    return all(re.match(wanted, line) for line in world.status(*names).values())


def is_down(world, names):
    return all(re.fullmatch(r"down: \S+ \d+s, normally up", line) for line in world.status(*names).values())


EXPECTED = {
    "down": r"down: .*s, normally up",
    "started": r"run: .*s, normally down",
    "paused": r"run: .*, paused",
    "once": r"run: .*, want down",
    "want-down": r"run: .*, want down, got TERM",
    "want-up": r"run: .*s, got TERM",
    "finishing": r"finish: .*s",
    "finishing-down": r"finish: .*, want down",
    "logged-down": r"down: .*s, normally up; run: log: .*s",
}


def is_there(world, state, names):
    return all(re.fullmatch(EXPECTED[state], line) for line in world.status(*names).values())


def youngest(line):
    return min(int(seconds) for seconds in re.findall(r"\b(\d+)s\b", line))


def pids_of(line):
    return re.findall(r"\(pid (\d+)\)", line)


def settled(before, line):
    """A line of `sv status` with its pids as what they are to those of before."""
    known = pids_of(before)
    text = re.sub(r"\(pid (\d+)\)", lambda match: "(same)" if match[1] in known else "(new)", line)
    return re.sub(r"\b\d+s\b", "Ns", text)


CAUGHT = ["dies: up or down"]


def tolerant(line):
    """What dies at once is up for milliseconds of each second: whether sv looks just then is chance.

    And runsv tells of a wish about it when the second that it sleeps is over.
    """
    if not re.match(r"((ok|timeout|kill): )?(run|down): dies-", line):
        return line
    stays_down = re.search(r"dies-(w-)?(down|stop|force-stop):", line)
    return re.sub(r", want up$", "", line) if stays_down else CAUGHT[0]


def by_service(done, names):
    """The answer, line by line, in the order of the services: who is done first says so first."""
    lines = [tolerant(line) for line in normalised(done.stdout).splitlines()]
    place = {name: number for number, name in enumerate(names)}
    return sorted(lines, key=lambda line: [place[word] for word in re.findall(r"[\w-]+", line) if word in place])


@pytest.mark.parametrize("commands", GROUPS, ids=lambda commands: "-".join(commands[0]))
def test_every_command_in_every_state(sandbox, tmp_path, commands):
    need_runit()
    scripts = scripts_of(commands)
    with ThreadPoolExecutor(8) as pool:
        theirs = Theirs(tmp_path / "sv", scripts)
        try:
            ours = Ours(sandbox, scripts, grace="1h")  # runsv has no notion of one
            list(pool.map(lambda world: get_there(world, commands), (theirs, ours)))
            theirs.leave_alone()
            found = list(pool.map(lambda words: compare(theirs, ours, words), commands))
        finally:
            theirs.end()
    assert "\n".join(str(difference) for differences in found for difference in differences) == ""


def compare(theirs, ours, words):
    """What differs, cell by cell."""
    names = [name_of(state, words) for state in STATES]
    *sure, dying = names
    before = [world.status(*names) for world in (theirs, ours)]
    differences = unequal_answers(theirs, ours, words, [*sure[:3], "missing", *sure[3:]])
    differences += unequal_answers(theirs, ours, words, [dying])
    return differences + ([] if LETTER_X & set(words) else unequal_ends(theirs, ours, words, names, before))


def unequal_answers(theirs, ours, words, names):
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda world: world.sv(*words, *names), (theirs, ours)))
    answers = [by_service(one, names) for one in done]
    if words[-1] in {"up", "start"}:  # runsv may not have heeded that yet when sv looks
        answers = [[re.sub(r"^(ok: run: .*), want down", r"\1", line) for line in lines] for lines in answers]
    differences = [(words, *pair) for pair in zip(*answers, strict=False) if pair[0] != pair[1]]
    if len(answers[0]) != len(answers[1]) or done[0].stderr != done[1].stderr:
        differences.append((words, *((one.stdout, one.stderr) for one in done)))
    if done[0].returncode != done[1].returncode and answers[0] != CAUGHT:
        differences.append((words, done[0].returncode, done[1].returncode))
    return differences


def unequal_ends(theirs, ours, words, names, before):
    """Of those that do not come to the same."""
    left = []

    def are_equal():
        ends = [
            {name: settled(was[name], line) for name, line in world.status(*names).items()}
            for world, was in zip((theirs, ours), before, strict=True)
        ]
        left[:] = [(words, name, ends[0][name], ends[1][name]) for name in names if ends[0][name] != ends[1][name]]
        return not left

    try:
        wait_until(are_equal, "the same end", patience_s=20)
    except AssertionError:
        return left
    return []
