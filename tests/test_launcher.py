"""run and env: what a program really gets."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bootstrap.definition import Limits
from bootstrap.launcher import SHELL_NAMES, Credentials, Launch, quote, render_env, render_run
from support.sandbox import wait_until

ANNOUNCE = "exec sleep 1000"
NOBODY = Credentials(uid=65534, gid=65534, user="nobody")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def write(directory, values, *, command=ANNOUNCE, credentials=None, limits=None, sh="/bin/sh", where=None):
    launch = Launch(
        program="api-web",
        command=command,
        directory=str(where or directory),
        credentials=credentials,
        limits=limits or Limits(),
    )
    run, env = directory / "run", directory / "env"
    env.write_bytes(render_env(launch, values).encode(errors="surrogateescape"))
    run.write_text(render_run(launch, str(env)).replace("/bin/sh", sh))
    run.chmod(0o700)
    return run


def environment_of(run, *words, inherited=None):
    """What `env -0`, run by the launcher, prints."""
    done = subprocess.run(
        [run, *(words or ("/usr/bin/env", "-0"))],
        env={"BOOTSTRAP_MARK": "m:/s"} if inherited is None else inherited,
        capture_output=True,
        check=True,
    )
    found = dict(os.fsdecode(pair).split("=", 1) for pair in done.stdout.split(b"\0") if pair)
    return {
        name: value
        for name, value in found.items()
        if name not in {"BOOTSTRAP_MARK", "BOOTSTRAP_PROGRAM", "PWD", "_", "SHLVL"}
    }


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True).filter(
    lambda name: name not in SHELL_NAMES | {"PWD", "OLDPWD", "SHLVL", "BOOTSTRAP_MARK", "SUPERVISOR_ENABLED"}
)
values = st.binary(max_size=200).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"\n")))


@pytest.mark.parametrize("sh", ["/bin/dash", "/bin/bash"])
@given(wanted=st.dictionaries(names, values, max_size=12))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_byte_but_nul_arrives_unchanged(tmp_path, sh, wanted):
    run = write(tmp_path, wanted, sh=sh)
    assert environment_of(run) == wanted


def test_a_long_value_and_every_single_byte_arrive_in_the_real_environment_of_the_process(tmp_path):
    wanted = {"LONG": "x" * 65536, "ALL": os.fsdecode(bytes(range(1, 256))), "EMPTY": "", "QUOTES": "'\"'\\''$x`y`"}
    run = write(tmp_path, wanted, command=ANNOUNCE)
    child = subprocess.Popen([run], env={"BOOTSTRAP_MARK": "m:/s"}, stdout=subprocess.PIPE)
    try:
        wait_until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n", "the program to take over")
        raw = Path(f"/proc/{child.pid}/environ").read_bytes()
        found = dict(pair.split(b"=", 1) for pair in raw.split(b"\0") if pair)
        assert found == {
            **{name.encode(): os.fsencode(value) for name, value in wanted.items()},
            b"BOOTSTRAP_MARK": b"m:/s",
            b"BOOTSTRAP_PROGRAM": b"api-web",
            b"PWD": os.fsencode(tmp_path),
        }
    finally:
        child.kill()
        child.communicate()


def test_nothing_is_inherited_when_a_person_starts_it(tmp_path):
    run = write(tmp_path, {"WANTED": "1"})
    inherited = {"SECRET_OF_A_SHELL": "x", "PATH": os.environ["PATH"], "LD_LIBRARY_PATH": "/nowhere"}
    assert environment_of(run, inherited=inherited) == {"WANTED": "1"}


def test_nothing_of_supervisord_is_left(tmp_path):
    run = write(tmp_path, {})
    inherited = {"BOOTSTRAP_MARK": "m:/s", "SUPERVISOR_ENABLED": "1", "SUPERVISOR_PROCESS_NAME": "x"}
    assert environment_of(run, inherited=inherited) == {}


def test_no_value_stands_in_the_run_file_or_an_argument_list(tmp_path):
    run = write(tmp_path, {"TOKEN": "canary-4711"})
    assert "canary-4711" not in run.read_text()
    seen = environment_of(run, "/bin/sh", "-c", "cat /proc/$PPID/cmdline /proc/$$/cmdline | tr '\\0' ' ' | sed s/^/A=/")
    assert "canary-4711" not in str(seen)


def test_the_programs_standard_input_is_the_callers(tmp_path):
    run = write(tmp_path, {}, command="exec cat")
    done = subprocess.run([run], env={"BOOTSTRAP_MARK": "m:/s"}, input=b"typed\n", capture_output=True, check=True)
    assert done.stdout == b"typed\n"


def test_only_the_standard_descriptors_are_open(tmp_path):
    run = write(tmp_path, {}, command="exec ls /proc/self/fd")
    done = subprocess.run([run], env={"BOOTSTRAP_MARK": "m:/s"}, capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["0", "1", "2", "3"]  # 3 is the directory that ls itself reads


def test_directory_umask_and_limits_are_as_defined(tmp_path):
    where = tmp_path / "it's a place"
    where.mkdir()
    limits = Limits(nofile=333, memory=512 * 1024 * 1024, processes=4000)
    run = write(
        tmp_path, {}, command="pwd; umask; ulimit -n; ulimit -v; ulimit -c; ulimit -p", limits=limits, where=where
    )
    done = subprocess.run([run], env={"BOOTSTRAP_MARK": "m:/s"}, capture_output=True, check=True, text=True)
    assert done.stdout.splitlines() == [str(where), "0022", "333", str(512 * 1024), "0", "4000"]


def test_the_soft_file_limit_is_the_usual_one_and_the_hard_one_stays(tmp_path):
    run = write(tmp_path, {}, command="ulimit -S -n; ulimit -H -n")
    done = subprocess.run([run], env={"BOOTSTRAP_MARK": "m:/s"}, capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["1024", str(resource.getrlimit(resource.RLIMIT_NOFILE)[1])]


@needs_root
def test_another_user_gets_no_privilege_at_all(tmp_path):
    status = "grep -E '^(Uid|Gid|Groups|NoNewPrivs|CapInh|CapPrm|CapEff|CapBnd|CapAmb):' /proc/self/status"
    run = write(tmp_path, {}, command=status, credentials=NOBODY, where="/")
    done = subprocess.run([run], env={"BOOTSTRAP_MARK": "m:/s"}, capture_output=True, check=True, text=True)
    none = "0000000000000000"
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["Uid:", *["65534"] * 4],
        ["Gid:", *["65534"] * 4],
        ["Groups:", "65534"],
        ["CapInh:", none],
        ["CapPrm:", none],
        ["CapEff:", none],
        ["CapBnd:", none],
        ["CapAmb:", none],
        ["NoNewPrivs:", "1"],
    ]


@needs_root
def test_a_loader_variable_reaches_the_program_but_no_process_of_root(tmp_path):
    """setpriv must not load what a config layer names; the program, which is not root any more, may."""
    run = write(tmp_path, {"LD_PRELOAD": "/nonexistent/evil.so"}, credentials=NOBODY, where="/", command="exec id -u")
    done = subprocess.run([run], env={"BOOTSTRAP_MARK": "m:/s"}, capture_output=True, check=True, text=True)
    assert done.stdout == "65534\n"
    complaints = [line for line in done.stderr.splitlines() if "evil.so" in line]
    assert len(complaints) == 1, "only the program itself may have tried to load it"


def test_a_missing_directory_ends_the_start_with_111(tmp_path):
    run = write(tmp_path, {}, where=tmp_path / "gone")
    done = subprocess.run([run], env={"BOOTSTRAP_MARK": "m:/s"}, capture_output=True, check=False)
    assert done.returncode == 111


@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=50, deadline=None)
def test_a_quoted_word_means_itself(text):
    done = subprocess.run(["/bin/sh", "-c", f"printf %s {quote(text)}"], capture_output=True, check=True)
    assert done.stdout == text.encode()
