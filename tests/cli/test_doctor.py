"""`bootstrap doctor` on a machine that is no instance: every finding, and that looking changes nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import tempfile
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bootstrap import checkup, doctor
from bootstrap.cli import main
from bootstrap.diagnosis import Finding, describe_error, describe_problems, render_diagnosis, summarise, warn
from bootstrap.doctor import CHECKS, Check, Visit, examine
from bootstrap.errors import ApplyFailed, NothingYet, TagError, Unavailable
from bootstrap.identity import parse_identity
from bootstrap.request import Request
from bootstrap.tag import Tag
from bootstrap.world import cgroups, lock, preflight, supervisord
from bootstrap.world.code import git_mirror
from bootstrap.world.doctor import limits
from support.origins import public_sandbox
from support.private_world import give_up
from support.sandbox import Sandbox, kill_and_wait, wait_until

NOBODY = 65534
BROKEN = "this check is broken"
NEEDS_PLAN = ["commands", "descriptors", "memory", "changes"]


def look(sandbox, *words, **named):
    """What it says as JSON, by check; no check may be broken."""
    found = sandbox.run("doctor", "--json", *words, **named)
    assert BROKEN not in found.stdout
    assert found.json["healthy"] is (found.returncode == 0)
    return by_check(found.json["findings"])


def by_check(findings):
    found = {}
    for finding in findings:
        rest = {name: value for name, value in finding.items() if name != "check"}
        found.setdefault(finding["check"], []).append(rest)
    return found


def visit(sandbox, *tags):
    """The same in this process, where a test can put other things in place of the machine's."""
    request = Request(tags=tags or ("mode=review",), dry=True)
    findings = list(examine(Visit(box=sandbox.box, request=request, asks_aws=False)))
    assert BROKEN not in str(findings)
    return by_check(render_diagnosis(findings)["findings"])


def ok(text):
    return {"level": "ok", "text": text}


def skipped(*names):
    return {"level": "skip", "text": f"not looked at: it needs {' and '.join(names)}"}


def tree(*tops):
    """Everything about every file, but when it was last read."""
    found = {}
    for top in tops:
        for folder, _, files in os.walk(top):
            for path in [folder, *(os.path.join(folder, name) for name in files)]:
                status = os.lstat(path)
                content = Path(path).read_bytes() if stat.S_ISREG(status.st_mode) else b""
                found[path] = (status.st_ino, status.st_mode, status.st_mtime_ns, status.st_ctime_ns, content)
    return found


def as_nobody(act):
    """What ``act`` returns, as JSON, in a child that is an ordinary user; the interpreter may stand where it can't look."""
    if os.geteuid() != 0:
        give_up("only root can become nobody")
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            text = json.dumps(act())
        except BaseException:  # noqa: BLE001 - it must not go on as a second test runner
            text = json.dumps(traceback.format_exc())
        os.write(writable, text.encode())
        os._exit(0)
    os.close(writable)
    with open(readable) as told:
        found = json.loads(told.read())
    os.waitpid(child, 0)
    assert not isinstance(found, str), found
    return found


@pytest.fixture
def public():
    """A sandbox that every user may reach and nobody owns."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        made = Sandbox(Path(directory))
        for path in [made.root, *made.root.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
        yield made
        made.clean_up()


# --- the report as a whole


def test_a_box_that_was_never_booted(sandbox):
    sandbox.sleeper("api")
    done = sandbox.run("doctor")
    assert re.sub(r"\d+ MB", "N MB", done.stdout) == (
        'ok    tags            mode is "review" (from --tag)\n'
        "ok    identity        this box is for review\n"
        "ok    definitions     1 service and 4 modes\n"
        "ok    plan            1 program; definitions, layers and secrets give each its environment\n"
        "ok    tools           what starts programs is installed\n"
        "ok    commands        directories and commands of 1 program are there\n"
        "ok    descriptors     supervisord may open as many files as it has to\n"
        f"ok    state           {sandbox.state} is not there yet, and can be made\n"
        f"ok    space           {sandbox.root} has N MB of N MB free\n"
        + (
            f"warn  run             {sandbox.state}/run is not in memory: values of environments and secrets are written to a disk\n"
            "  way out: mount a tmpfs there, as image/var-lib-bootstrap-run.mount does\n"
            if os.geteuid() == 0
            else ""
        )
        + "ok    lock            nobody is changing this box\n"
        "ok    supervisor      none is running: up starts one\n"
        "ok    changes         up would start 1 of 1 program\n"
        "ok    ports           no port that is wanted is somebody else's\n"
        f"nothing would fail, {'1 warning' if os.geteuid() == 0 else '0 warnings'}, 13 ok\n"
    )
    assert done.stderr == ""


def test_a_live_box(sandbox):
    sandbox.sleeper("api")
    sandbox.sleeper("db")
    sandbox.config("common/GREETING", "hello")
    sandbox.run("up")
    found = look(sandbox)
    assert found["state"] == [ok(f"{sandbox.state} can be written")]
    assert found["supervisor"] == [ok(f"it answers (pid {sandbox.daemon}); 2 of 2 programs are running")]
    assert found["changes"] == [ok("up would change nothing")]
    sandbox.config("services/api/common/GREETING", "hallo")
    sandbox.sleeper("web")
    sandbox.run("stop", "db")
    assert look(sandbox)["changes"] == [
        ok("up would start 2 and replace 1 of 3 programs"),
        ok("up would start what was stopped by hand: db-web"),
    ]


def test_looking_changes_nothing(sandbox):
    folder = sandbox.sleeper("api", extra="source: {git: ../elsewhere}")
    sandbox.service("web", "processes: {web: {command: exec sleep 1000, ready: {alive: 0s}}}\n")
    before = tree(sandbox.root)
    sandbox.run("doctor", code=None)
    assert tree(sandbox.root) == before
    assert not sandbox.state.exists()
    (folder / "service.yaml").unlink()
    sandbox.run("up")
    sandbox.config("common/NEW", "1")
    log = sandbox.state / "log/supervisord.log"
    wait_until(lambda: "entered RUNNING state" in log.read_text(), "supervisord to have written its last line")
    before = tree(sandbox.root)
    assert str(log) in before
    sandbox.run("doctor")
    assert tree(sandbox.root) == before


def test_without_a_word_more_only_what_is_wrong_is_told(sandbox):
    sandbox.service("api", "processes: {web: {command: exec no-such-program}}\n")
    done = sandbox.run("doctor", "-q", "--state", "/dev/shm/bootstrap-doctor", code=2)
    assert "No such option" in done.stderr, "--state stands before the verb"
    done = sandbox.run("--state", "/dev/shm/bootstrap-doctor", "doctor", "-q", code=1)
    assert done.stdout == (
        'fail  commands        cannot run "no-such-program" for "api-web": there is no such program on its PATH\n'
        "  where: services/api/service.yaml: processes/web/command\n"
        "  way out: install it, or correct the command\n"
        f"1 would fail, 0 warnings, {12 + (os.geteuid() == 0)} ok\n"
    )
    assert not os.path.exists("/dev/shm/bootstrap-doctor")


def test_a_terminal_gets_colours(sandbox):
    ours, theirs = os.openpty()
    child = sandbox.start("doctor", "-q", tags=("mode=nonsense",), stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while block := os.read(ours, 65536):
            said += block
    except OSError:  # EIO: the other side has gone
        pass
    os.close(ours)
    assert child.wait(30) == 1
    assert b"\x1b[31m\x1b[1mfail\x1b[0m  plan " in said


def test_what_is_mistyped_is_the_command_lines_fault_and_no_finding(sandbox):
    done = sandbox.run("doctor", "--tag", "mode", code=2)
    assert (done.stdout, done.stderr) == ("", 'error: cannot use --tag "mode": should be KEY=VALUE, like mode=review\n')
    assert "No such option" in sandbox.run("doctor", "--frobnicate", code=2).stderr
    assert sandbox.run("doctor", "--tag", "mode=staging", code=2, tags=("mode=review",)).stderr == (
        'error: cannot use tag "bootstrap:mode": it is set twice, to "review" (from --tag) and to "staging" (from --tag); keep one of them\n'
    )


def test_help_has_an_example(sandbox):
    assert "Example: bootstrap doctor --tag mode=production --tag service=api" in sandbox.run("doctor", "--help").stdout


def test_a_check_that_breaks_is_a_finding_and_the_others_are_made(sandbox, monkeypatch):
    def burst(_visit):
        yield Finding(level="ok", text="so far")
        raise ValueError("hunter2")

    checks = (Check(name="first", look=burst), Check(name="second", look=lambda _: iter([warn("odd", "none")])))
    checks += (Check(name="third", look=burst, needs=("first", "second")),)
    monkeypatch.setattr(doctor, "CHECKS", checks)
    first, broken, *others = examine(Visit(box=sandbox.box, request=Request(), asks_aws=False))
    assert first == Finding(check="first", level="ok", text="so far")
    assert broken == Finding(
        check="first",
        level="fail",
        text="this check is broken: ValueError",
        where=f"{__file__}:{burst.__code__.co_firstlineno + 2}",
        way_out="please report it; the other checks are not concerned",
    )
    assert others == [
        Finding(check="second", level="warn", text="odd", way_out="none"),
        Finding(check="third", level="skip", text="not looked at: it needs first"),
    ]


def test_the_documentation_names_every_check():
    text = (Path(__file__).parents[2] / "docs/doctor.md").read_text()
    assert re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE) == [check.name for check in CHECKS]
    assert "doctor" in main.VERBS


def test_every_need_is_a_check_before_it():
    seen = set()
    for check in CHECKS:
        assert seen.issuperset(check.needs), check.name
        seen.add(check.name)


# --- sentences of the house


def test_an_error_becomes_a_finding_for_each_problem():
    error = TagError("cannot a: b\n  looked in c\n  where: d\n  way out: e", "cannot f: g; way out: none")
    assert list(describe_error(error)) == [
        Finding(level="fail", text="cannot a: b\n  looked in c", where="d", way_out="e"),
        Finding(level="fail", text="cannot f: g; way out: none"),
    ]
    several = ApplyFailed("cannot a: b\n  nothing has been changed; way out: c\ncannot d: e\n  way out: f")
    assert list(describe_error(several)) == [
        Finding(level="fail", text="cannot a: b", way_out="c"),
        Finding(level="fail", text="cannot d: e", way_out="f"),
    ]
    assert [one.level for one in describe_error(Unavailable("cannot a: b"))] == ["fail"]
    assert [one.level for one in describe_error(NothingYet("cannot a: b"))] == ["warn"]
    assert list(describe_problems("")) == []


def test_the_last_line_counts():
    levels = ["ok", "fail", "warn", "skip", "fail"]
    findings = [Finding(level=level, text="") for level in levels]
    assert summarise(findings) == "2 would fail, 1 warning, 1 ok, 1 skipped"
    assert summarise(findings[:1]) == "nothing would fail, 0 warnings, 1 ok"


# --- tags, identity, definitions, plan


def test_a_tag_that_is_not_set(sandbox):
    sandbox.sleeper("api")
    found = look(sandbox, tags=(), code=1)
    assert found["tags"] == [
        {
            "level": "fail",
            "text": f'cannot read tag "bootstrap:mode": it is not set\n  looked in --tag and {sandbox.root}/bootstrap.env (no such file)',
            "way_out": f"--tag mode=review, or --tags-file FILE with BOOTSTRAP_MODE=review, or that line in {sandbox.root}/bootstrap.env",
        }
    ]
    assert found["identity"] == [skipped("tags")]
    assert found["plan"] == [skipped("identity")]
    assert all(found[name] == [skipped("plan")] for name in NEEDS_PLAN)
    assert found["ports"] == [skipped("changes")]
    assert found["definitions"] == [ok("1 service and 4 modes")]
    assert found["state"] == [ok(f"{sandbox.state} is not there yet, and can be made")]


def test_all_that_is_wrong_with_tags_at_once(sandbox):
    sandbox.sleeper("api")
    tags = ("mode=re\x1b[31mview", "servcie=api", "a b=c")
    found = look(sandbox, tags=tags, code=1)
    way_out = "correct the tag where it is set"
    assert found["tags"] == [
        {
            "level": "warn",
            "text": 'tag "bootstrap:a b" can\'t be shown by instance metadata: a launch that asks for that fails',
            "where": "--tag",
            "way_out": "rename it: letters, digits and -_+=,.@: are allowed, spaces and slashes are not",
        },
        ok(r'mode is "re\x1b[31mview" (from --tag), and 2 more'),
    ]
    assert found["identity"] == [
        {
            "level": "fail",
            "text": 'cannot use tag "bootstrap:a b": no such key; the keys are bootstrap:mode, bootstrap:service, bootstrap:process, bootstrap:scale, bootstrap:ref, bootstrap:expires, bootstrap:target-groups, bootstrap:dns, bootstrap:bucket, bootstrap:hold and bootstrap:ref.<service> (from --tag)',
            "way_out": way_out,
        },
        {
            "level": "fail",
            "text": 'cannot use tag "bootstrap:servcie": no such key; did you mean "bootstrap:service"? (from --tag)',
            "way_out": way_out,
        },
        {
            "level": "fail",
            "text": r'cannot use tag "bootstrap:mode": should be lower-case letters, digits and hyphens (63 at most, no hyphen first), not "re\x1b[31mview" (from --tag)',
            "way_out": way_out,
        },
    ]
    assert "\x1b" not in sandbox.run("doctor", tags=tags, code=1).stdout


def test_a_box_that_was_to_end_is_still_there():
    tags = [Tag(key="bootstrap:mode", value="review", source="--tag")]
    tags.append(Tag(key="bootstrap:expires", value="2030-01-31T18:00:00Z", source="DescribeTags"))
    identity = parse_identity(tags)
    fine = Finding(level="ok", text="this box is for review")
    assert list(checkup.judge_identity(identity, datetime(2030, 1, 31, 17, 59, tzinfo=UTC))) == [fine]
    assert list(checkup.judge_identity(identity, datetime(2030, 1, 31, 18, tzinfo=UTC))) == [
        Finding(
            level="warn",
            text='tag "bootstrap:expires" says that this box was to end at 2030-01-31T18:00:00Z',
            where="DescribeTags",
            way_out="end the box, or set a later time",
        ),
        fine,
    ]


@pytest.mark.parametrize(
    ("key", "fits"), [("a:b.c_d@e+f=g,h-1", True), ("a/b", False), ("_index", False), ("..", False)]
)
def test_keys_that_instance_metadata_shows(key, fits):
    tags = [Tag(key="bootstrap:mode", value="review", source="s"), Tag(key=key, value="", source="s")]
    assert [one.level for one in checkup.judge_tags(tags)] == (["ok"] if fits else ["warn", "ok"])


def test_every_mistake_of_every_definition(sandbox):
    sandbox.service("api", "porcesses: {}\n")
    sandbox.service("db", "processes: {web: {command: exec x, prot: 1}}\n")
    found = look(sandbox, code=1)
    assert found["definitions"] == [
        {
            "level": "fail",
            "text": f'services/{name}/service.yaml:1: {key}: unknown key; did you mean "{near}"?',
            "way_out": "correct the file",
        }
        for name, key, near in (("api", "porcesses", "processes"), ("db", "processes/web/prot", "port"))
    ]
    assert found["plan"] == [skipped("definitions")]


def test_what_plan_reports_is_reported_in_its_words(sandbox):
    sandbox.sleeper("api", extra="requires: [DATABASE_URL]")
    sandbox.sleeper("web", extra="requires: [TOKEN]")
    said = sandbox.run("plan", code=2).stderr.removeprefix("error: ")
    found = look(sandbox, code=1)["plan"]
    assert len(found) == 2
    for one in found:
        assert one["level"] == "fail"
        assert one["text"] in said
        assert one["way_out"] in said
    assert look(sandbox, tags=("mode=prodution",), code=1)["plan"] == [
        {
            "level": "fail",
            "text": 'cannot use mode "prodution": no such mode; did you mean "production"? (modes: development, production, review, staging)',
            "way_out": "correct the tags, or the files",
        }
    ]
    assert look(sandbox, "--tag", "service=wbe", tags=("mode=production",), code=1)["plan"][0]["text"] == (
        'cannot use service "wbe": no such service; did you mean "web"? (services: api, web)'
    )


def test_what_nobody_reads_is_a_warning(sandbox):
    sandbox.sleeper("api")
    sandbox.config("modes/reveiw/LEVEL", "x")
    said = sandbox.run("plan").stdout.splitlines()[0]
    (found, _) = look(sandbox)["plan"]
    assert (found["level"], found["text"]) == ("warn", said)
    assert found["text"].startswith("not read: config/modes/reveiw: ")


def test_a_box_without_any_program(sandbox):
    assert look(sandbox)["plan"] == [
        {
            "level": "warn",
            "text": "no program is defined for this box",
            "way_out": "define one, or name another service or process with the tags",
        }
    ]


def test_what_others_have_written_can_not_pass_for_a_finding(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    (sandbox.state / "run/checks.json").write_text(json.dumps({"api-web": "\x1b[1mno\nok    all  is well"}))
    assert (
        'warn  supervisor      the check of "api-web" fails: \\x1b[1mno\n'
        "  ok    all  is well\n"
        "  way out: bootstrap logs api-web\n"
    ) in sandbox.run("doctor").stdout


def test_no_secret_is_shown(sandbox):
    sandbox.sleeper("api", extra="secret: [SESSION_KEY]\nenv: {SESSION_KEY: hunter2}")
    sandbox.config("services/api/common/DATABASE_URL.ssm", "/api/url")
    sandbox.config("secrets.local.env", "ssm:/api/url=hunter3\n").chmod(0o600)
    for words in (("doctor",), ("doctor", "-v"), ("doctor", "--json")):
        done = sandbox.run(*words)
        assert "hunter" not in done.stdout + done.stderr
    sandbox.config("services/api/common/PATH", "/hunter2")
    sandbox.config("services/api/common/A=hunter2", "x")
    done = sandbox.run("doctor", code=1)
    assert "/hunter2" not in done.stdout


# --- commands, tools, limits


def test_commands_that_are_not_there(sandbox):
    folder = sandbox.service(
        "api",
        "setup: ['./migrate', 'true && false']\n"
        "processes:\n"
        "  web: {command: './web --port 1', stop: {script: ./quiesce}}\n"
        "  worker: {command: 'exec no-such-worker', instances: 2}\n"
        "  shell: {command: 'cd /; no-such-thing', ready: {exec: no-such-probe}, check: {exec: kill -0 1}}\n"
        "  sleep: {command: sleep 1000}\n",
    )
    sandbox.service("gone", "directory: app\nprocesses: {web: {command: ./x}}\n")
    (folder / "migrate").write_text("#!/bin/sh\n")
    (folder / "migrate").chmod(0o755)
    (folder / "quiesce").write_text("not executable")

    def missing(program, key, word, place):
        return {
            "level": "fail",
            "text": f'cannot run "{word}" for "{program}": there is no such program {place}',
            "where": f"services/api/service.yaml: {key}",
            "way_out": "install it, or correct the command",
        }

    assert look(sandbox, code=1)["commands"] == [
        {
            "level": "fail",
            "text": f'cannot start "gone-web": its directory "{sandbox.root}/services/gone/app" does not exist',
            "where": "services/gone/service.yaml: directory",
            "way_out": "make it, or name another one",
        },
        missing("api-shell", "processes/shell/ready", "no-such-probe", "on its PATH"),
        missing("api-web", "processes/web/command", "./web", f"in {folder}"),
        {
            "level": "fail",
            "text": f'cannot run "./quiesce" for "api-web": {folder}/quiesce can\'t be executed',
            "where": "services/api/service.yaml: processes/web/stop",
            "way_out": f"chmod +x {folder}/quiesce",
        },
        missing("api-worker-1", "processes/worker/command", "no-such-worker", "on its PATH"),
    ]


def test_where_a_layer_removes_path_only_the_shell_knows(sandbox):
    sandbox.sleeper("api", command="exec no-such-program")
    sandbox.config("common/PATH", b"")
    assert look(sandbox)["commands"] == [ok("directories and commands of 1 program are there")]
    sandbox.config("common/PATH", "bin")
    assert look(sandbox, code=1)["commands"][0]["level"] == "fail"
    program = sandbox.root / "services/api/bin/no-such-program"
    program.parent.mkdir()
    program.touch(0o755)
    assert look(sandbox)["commands"] == [ok("directories and commands of 1 program are there")]


def test_commands_of_code_that_is_still_to_be_fetched_are_not_looked_at():
    with public_sandbox() as sandbox:
        origin = sandbox.origin()
        sandbox.sourced("api", origin)
        before = tree(origin, sandbox.root)
        assert look(sandbox)["commands"] == [
            ok("the code of api is not here yet: up brings it, and its commands are not looked at")
        ]
        assert tree(origin, sandbox.root) == before
        assert not sandbox.state.exists()
        sandbox.run("up")
        assert look(sandbox)["commands"] == [ok("directories and commands of 1 program are there")]
        origin.rename(sandbox.directory / "elsewhere")
        (notice, _) = look(sandbox)["plan"]
        assert notice["level"] == "warn"
        assert notice["text"].startswith(f"api: cannot reach {origin}: ")
        assert notice["way_out"] == "up goes on all the same; where that will not do, mend it first"


def test_tools_that_are_not_installed(sandbox, monkeypatch):
    sandbox.sleeper("api", extra="source: {git: 'https://127.0.0.1:1/api.git'}")
    monkeypatch.setattr(preflight, "_TOOLS", {"/nowhere/setpriv": "util-linux"})
    monkeypatch.setattr(git_mirror, "_PATH", "/nowhere")
    found = visit(sandbox)
    assert found["tools"] == [
        {
            "level": "fail",
            "text": 'cannot start programs on this machine: "/nowhere/setpriv" (Debian package util-linux) is not installed',
            "way_out": "install it",
        }
    ]
    assert found["plan"] == [
        {
            "level": "fail",
            "text": "cannot fetch the code of services: git is not installed",
            "way_out": "install git",
        }
    ]


def test_descriptors_that_are_too_few(sandbox, monkeypatch):
    sandbox.service(
        "api", "processes: {web: {command: exec sleep 1000, ready: {alive: 0s}, limits: {nofile: 65536}}}\n"
    )
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: (16, 34))
    monkeypatch.setattr(limits.os, "geteuid", lambda: 1000)
    plan = plan_of(sandbox)
    found = [render_diagnosis([one])["findings"][0] for one in limits.examine_descriptors(plan)]
    where = "services/api/service.yaml: processes/web/limits/nofile"
    assert found == [
        {
            "check": "",
            "level": "fail",
            "text": "supervisord may open 34 files, and takes 35 to run this plan",
            "way_out": "raise the hard limit: LimitNOFILE= in the unit that starts bootstrap, or ulimit -H -n",
        },
        {
            "check": "",
            "level": "fail",
            "text": 'cannot start "api-web": it is to have 65536 open files, and this machine allows 34',
            "where": where,
            "way_out": "raise the hard limit (ulimit -H -n), or ask for fewer",
        },
    ]
    monkeypatch.setattr(limits.os, "geteuid", lambda: 0)
    monkeypatch.setattr(limits, "_read_most", lambda: 1000.0)
    _, second = limits.examine_descriptors(plan)
    assert second.way_out == "raise /proc/sys/fs/nr_open"
    monkeypatch.setattr(limits, "_read_most", lambda: 65536.0)
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: (16, limits.resource.RLIM_INFINITY))
    assert [one.level for one in limits.examine_descriptors(plan)] == ["ok"]


def plan_of(sandbox):
    box_visit = Visit(box=sandbox.box, request=Request(tags=("mode=review",), dry=True), asks_aws=False)
    list(examine(box_visit))
    return box_visit.layered.plan


def test_memory_limits_count_what_is_used_only_in_a_control_group(sandbox, monkeypatch, tmp_path):
    sandbox.service(
        "api", "processes: {web: {command: exec sleep 1000, ready: {alive: 0s}, limits: {memory: 512MiB}}}\n"
    )
    monkeypatch.setattr(cgroups, "_read_own", lambda: None)

    def not_enforced(cause):
        return {
            "level": "warn",
            "text": f'the memory limit of "api-web" counts its address space, not what it uses: {cause}',
            "where": "services/api/service.yaml: processes/web/limits/memory",
            "way_out": "run it from a unit with Delegate=yes, as image/bootstrap.service does, or leave the limit out",
        }

    assert visit(sandbox)["memory"] == [not_enforced("no control group is delegated to bootstrap")]
    group = tmp_path / "group"
    group.mkdir()
    (group / "cgroup.procs").touch()
    monkeypatch.setenv("BOOTSTRAP_CGROUP", str(group))
    assert visit(sandbox)["memory"] == [not_enforced(f"{group} has no memory controller")]
    (group / "cgroup.controllers").write_text("cpu memory pids\n")
    assert visit(sandbox)["memory"] == [ok(f"memory limits count what is used, in {group}")]
    monkeypatch.setenv("BOOTSTRAP_CGROUP", "/nowhere")
    assert visit(sandbox)["memory"] == [
        {
            "level": "fail",
            "text": 'cannot use the control group "/nowhere": it is no directory of a cgroup v2',
            "where": "BOOTSTRAP_CGROUP",
            "way_out": "correct or unset the variable",
        }
    ]


# --- the state directory


def test_a_state_directory_of_somebody_else(sandbox):
    if os.geteuid() != 0:
        give_up("only root can give a directory away")
    sandbox.sleeper("api")
    run = sandbox.state / "run"
    run.mkdir(parents=True, mode=0o700)
    os.chown(run, NOBODY, NOBODY)
    found = look(sandbox, code=1)
    assert found["state"] == [
        {
            "level": "fail",
            "text": f'cannot use the state directory "{sandbox.state}": it belongs to user 65534, not to 0',
            "way_out": "run as its owner, or name another one with --state DIR",
        }
    ]
    assert found["lock"] == found["supervisor"] == [skipped("state")]
    assert found["changes"] == [skipped("supervisor")]


def test_a_state_directory_that_a_newer_bootstrap_has_written(sandbox):
    sandbox.sleeper("api")
    sandbox.state.mkdir()
    (sandbox.state / "format").write_text("7\n")
    assert look(sandbox, code=1)["state"] == [
        {
            "level": "fail",
            "text": f'cannot use the state directory "{sandbox.state}": a newer bootstrap has written it (format 7; this one knows 1)',
            "way_out": "install that version again, or run its `bootstrap down` first",
        }
    ]


def test_a_run_directory_that_others_may_enter(sandbox):
    sandbox.sleeper("api")
    (sandbox.state / "run").mkdir(parents=True)
    (sandbox.state / "run").chmod(0o755)
    assert look(sandbox)["state"] == [
        {
            "level": "warn",
            "text": f"{sandbox.state}/run has mode 0755: others could read environments",
            "way_out": f"chmod 0700 {sandbox.state}/run; up does so",
        },
        ok(f"{sandbox.state} can be written"),
    ]


def test_something_else_in_the_place_of_a_directory(sandbox):
    sandbox.sleeper("api")
    sandbox.state.mkdir()
    (sandbox.state / "log").symlink_to("/tmp")
    (sandbox.state / "generations").write_text("")
    way_out = "remove it, or name another one with --state DIR"
    assert look(sandbox, code=1)["state"] == [
        {"level": "fail", "text": f"cannot use {sandbox.state}/{name}: it is no directory", "way_out": way_out}
        for name in ("log", "generations")
    ]


def test_an_ordinary_user(public):
    public.service("api", "processes: {web: {command: exec sleep 1000, ready: {alive: 0s}, user: root}}\n")
    visit(public)  # what is imported late is imported now, as root
    found = as_nobody(lambda: visit(public))
    assert found["plan"] == [
        {
            "level": "warn",
            "text": "running everything as nobody: only root can become root",
            "way_out": "up goes on all the same; where that will not do, mend it first",
        },
        ok("1 program; definitions, layers and secrets give each its environment"),
    ]
    assert found["state"] == [ok(f"{public.state} is not there yet, and can be made")]
    assert "run" not in found, "a laptop has no such place"
    assert {one["level"] for findings in found.values() for one in findings} == {"ok", "warn"}
    assert not public.state.exists()


def test_an_ordinary_user_beside_a_box_of_root(public):
    public.sleeper("api")
    public.run("up")
    visit(public)
    found = as_nobody(lambda: visit(public))
    assert found["state"] == [
        {
            "level": "fail",
            "text": f'cannot use the state directory "{public.state}": it belongs to user 0, not to 65534',
            "way_out": "run as its owner, or name another one with --state DIR",
        }
    ]
    assert found["supervisor"] == [skipped("state")]


def test_a_place_that_must_not_be_written(public):
    public.sleeper("api")
    os.chown(public.root, 0, 0)
    visit(public)
    assert as_nobody(lambda: visit(public))["state"] == [
        {
            "level": "fail",
            "text": f"cannot write to {public.root}",
            "way_out": "run as its owner, mend its permissions, or name another one with --state DIR",
        }
    ]


MB = 1_000_000
ROOMY = checkup.Space(path="/x", bytes=100_000 * MB, free_bytes=50_000 * MB, files=1000, free_files=500)
MAKE_ROOM = "remove what is not needed there, or give it more room"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, [("ok", "/x has 50000 MB of 100000 MB free", None)]),
        ({"free_bytes": 9_999 * MB}, [("warn", "/x has 9999 MB of 100000 MB free", MAKE_ROOM)]),
        ({"bytes": 400 * MB, "free_bytes": 199 * MB}, [("warn", "/x has 199 MB of 400 MB free", MAKE_ROOM)]),
        (
            {"bytes": 400 * MB, "free_bytes": 199 * MB, "is_memory": True},
            [("ok", "/x has 199 MB of 400 MB free", None)],
        ),
        ({"free_bytes": 0}, [("fail", "/x is full", MAKE_ROOM)]),
        (
            {"free_files": 99},
            [
                ("ok", "/x has 50000 MB of 100000 MB free", None),
                ("warn", "/x has 99 of 1000 inodes free", "remove files there"),
            ],
        ),
        (
            {"free_files": 0},
            [
                ("ok", "/x has 50000 MB of 100000 MB free", None),
                ("fail", "/x can't hold another file: it has no inodes left", "remove files there"),
            ],
        ),
        ({"files": 0, "free_files": 0}, [("ok", "/x has 50000 MB of 100000 MB free", None)]),
    ],
)
def test_room(change, expected):
    found = checkup.judge_space(replace(ROOMY, **change))
    assert [(one.level, one.text, one.way_out) for one in found] == expected


def test_a_run_directory_in_memory(sandbox):
    if os.geteuid() != 0:
        give_up("nobody else is warned")
    sandbox.sleeper("api")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        done = sandbox.run("--state", directory, "doctor", "--json")
    assert by_check(done.json["findings"])["run"] == [ok(f"{directory}/run is in memory")]


def test_somebody_else_is_at_it(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    with lock.held(sandbox.box, "up", wait_s=10, say=print), lock.watching(sandbox.box):
        changing, watching = look(sandbox)["lock"]
    who = rf"\(pid {os.getpid()}, since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ\)"
    assert re.fullmatch(f'"bootstrap up" {who} is changing this box', changing["text"])
    assert (changing["level"], changing["way_out"]) == ("warn", "let it finish: another up waits for it")
    assert re.fullmatch(f'"bootstrap boot" {who} watches it', watching["text"])
    assert look(sandbox)["lock"] == [ok("nobody is changing this box")]


# --- the supervisor


def test_programs_in_trouble(sandbox):
    flag = sandbox.root / "broken"
    process = {"command": f"test -e {flag} && exit 3; while ! test -e {flag}; do sleep 0.01; done"}
    process |= {"ready": {"alive": "0s"}, "restart": {"window": "60s", "starts": 2}}
    sandbox.service("api", json.dumps({"processes": {"web": process}}))
    slow = process | {"restart": {"window": "60s", "starts": 50}}
    sandbox.service("slow", json.dumps({"processes": {"web": slow}}))
    sandbox.sleeper("well")
    sandbox.run("up")
    (sandbox.state / "run/checks.json").write_text('{"well-web": "GET /healthz answered 500"}')
    flag.touch()

    def are_in_trouble():
        states = {one["name"]: one for one in sandbox.status()["programs"]}
        slow = states["slow-web"]  # from its third restart on it waits for seconds
        return states["api-web"]["state"] == "failed" and slow["state"] == "backoff" and slow["restarts"] >= 3

    wait_until(are_in_trouble, "them to be in trouble")
    found = look(sandbox)["supervisor"]
    words = {"api-web": "has failed", "slow-web": "keeps dying"}
    assert found[:3] == [
        *(
            {
                "level": "warn",
                "text": f'"{name}" {words[name]} (exited with code 3)',
                "way_out": f"bootstrap logs {name} shows why; bootstrap restart {name} tries again",
            }
            for name in words
        ),
        {
            "level": "warn",
            "text": 'the check of "well-web" fails: GET /healthz answered 500',
            "way_out": "bootstrap logs well-web",
        },
    ]
    assert found[3] == ok(f"it answers (pid {sandbox.daemon}); 1 of 3 programs are running")


def test_a_program_that_is_not_ready_and_a_set_up_that_has_failed(sandbox):
    sandbox.sleeper("api", ready="{exec: 'test -e ready', timeout: 100ms}")
    sandbox.sleeper("web", extra="setup: ['exit 3']")
    sandbox.run("up", code=1)
    assert look(sandbox)["supervisor"][:2] == [
        {
            "level": "warn",
            "text": 'the set-up of "web" has failed, and its programs were not started as what is wanted',
            "way_out": f"correct what {sandbox.state}/log/web.setup.log says; bootstrap up tries again",
        },
        {
            "level": "warn",
            "text": '"api-web" runs and is not ready',
            "way_out": "bootstrap logs api-web may show why; bootstrap up waits for it",
        },
    ]


def test_a_box_that_was_drained(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    sandbox.run("drain")
    assert look(sandbox)["supervisor"][0] == {
        "level": "warn",
        "text": "no requests are to come here: it was drained by hand",
        "way_out": "bootstrap undrain",
    }
    sandbox.run("undrain")
    assert len(look(sandbox)["supervisor"]) == 1


def test_a_supervisor_that_has_died(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    kill_and_wait(sandbox.daemon)
    assert look(sandbox)["supervisor"] == [
        {
            "level": "warn",
            "text": "the supervisor has died, and what is left behind runs on without it: api-web",
            "way_out": "bootstrap up starts it anew, once what was left behind is stopped",
        }
    ]


def test_a_supervisor_that_says_nothing(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    daemon = sandbox.daemon
    os.kill(daemon, signal.SIGSTOP)
    try:
        found = look(sandbox, code=1, environ={"BOOTSTRAP_RPC_TIMEOUT": "0.2"})
    finally:
        os.kill(daemon, signal.SIGCONT)
    assert found["supervisor"] == [
        {
            "level": "fail",
            "text": f"cannot talk to supervisord at {sandbox.state}/run/supervisord.sock: timed out",
            "way_out": "run the command again; if it stays so, look into log/supervisord.log",
        }
    ]
    assert found["changes"] == [skipped("supervisor")]


def test_a_supervisor_on_its_way_out(sandbox, monkeypatch):
    sandbox.sleeper("api")
    sandbox.run("up")
    monkeypatch.setattr(supervisord.Supervisor, "is_up", lambda _: False)
    assert visit(sandbox)["supervisor"] == [
        {
            "level": "warn",
            "text": f"the supervisor (pid {sandbox.daemon}) is shutting down",
            "way_out": "wait for its end; up does so",
        }
    ]


def test_a_port_that_somebody_else_has(sandbox):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        sandbox.service(
            "api", f"processes: {{web: {{command: exec sleep 1000, port: {port}, ready: {{alive: 0s}}}}}}\n"
        )
        (found,) = look(sandbox, code=1)["ports"]
    comm = Path("/proc/self/comm").read_text().strip()
    assert found == {
        "level": "fail",
        "text": f'cannot start "api-web": port {port} is in use by "{comm}" (pid {os.getpid()})',
        "way_out": "end that process, or give one of the two another port",
    }
    sandbox.run("up")
    sandbox.config("common/NEW", "1")
    assert look(sandbox)["ports"] == [ok("no port that is wanted is somebody else's")], "it is this box's own"


# --- what only an instance has


@pytest.mark.parametrize(
    ("wanted", "health", "expected"),
    [
        (("traffic-port", "/"), None, ("ok", 'target group "g" checks the port that it sends requests to')),
        (("8001", "/x"), None, ("ok", 'target group "g" checks port 8001, path "/x"')),
        (("8001", None), None, ("ok", 'target group "g" checks port 8001')),
        (
            ("9000", "/healthz"),
            None,
            (
                "warn",
                'target group "g" checks port 9000, path "/healthz", and nothing here listens there (ports: 8001)',
            ),
        ),
        (("9000", "/healthz"), "0.0.0.0", ("ok", 'target group "g" checks port 9000, path "/healthz"')),
        (
            ("9000", "/healthz"),
            "127.0.0.1",
            (
                "warn",
                'target group "g" checks port 9000, path "/healthz", and the health endpoint listens on 127.0.0.1 alone',
            ),
        ),
        (
            ("9000", "/"),
            "0.0.0.0",
            (
                "warn",
                'target group "g" checks port 9000, path "/", where the health endpoint does not tell how the box is',
            ),
        ),
        (
            ("9001", None),
            "0.0.0.0",
            ("warn", 'target group "g" checks port 9001, and nothing here listens there (ports: 8001, 9000)'),
        ),
    ],
)
def test_the_health_check_of_a_target_group(wanted, health, expected):
    endpoint = None if health is None else {"port": 9000, "address": health}
    found = checkup.judge_health_check("g", {"port": wanted[0], "path": wanted[1]}, [8001], endpoint)
    assert (found.level, found.text) == expected
    assert (found.way_out is None) == (found.level == "ok")


@pytest.mark.parametrize(
    ("off_s", "words"), [(0, None), (300, None), (-301, "301 s behind"), (7200.4, "7200 s ahead of")]
)
def test_a_clock_that_is_far_off(off_s, words):
    found = checkup.judge_clock(1_000_000 + off_s, 1_000_000)
    if words is None:
        assert found == Finding(level="ok", text="the clock agrees with the one of instance metadata")
        return
    assert found == Finding(
        level="fail",
        text=f"the clock is {words} the one of instance metadata, and AWS refuses what is signed with it",
        way_out="have it set: chronyd or systemd-timesyncd with 169.254.169.123",
    )


def test_aws_is_asked_only_where_it_is_wanted(sandbox):
    sandbox.sleeper("api")
    assert "metadata" not in look(sandbox)
    found = look(sandbox, "--aws")
    assert found["metadata"] == [
        {
            "level": "warn",
            "text": "this machine has no instance metadata: what it would be asked for on EC2 is not looked at",
            "way_out": "run it on the instance; AWS_EC2_METADATA_SERVICE_ENDPOINT names a service that stands elsewhere",
        }
    ]
    assert not {"group", "clock", "described-tags", "target-groups", "dns", "bucket"} & found.keys()
