"""Thirty-two secrets, through everything that can happen: none is seen anywhere but in its own program."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from support.instance import BUCKET, Ec2Box, make_bucket
from support.sandbox import kill_and_wait, wait_until

SHAPES = [
    "plain-{}",
    "with space {}",
    "re.*+?[{}](x)|$^",
    "quo'te\"{}",
    "back\\slash\\{}",
    "per%cent%s{}",
    "$HOME`id`{}",
    "ü-{}",
]
CANARIES = {f"CANARY_{n}": SHAPES[n % 8].format(f"canary{n:02}{os.urandom(6).hex()}") for n in range(32)}
TOKENS = [value[value.index("canary") :][:20] for value in CANARIES.values()]


def forms():
    """How a secret could be seen: as it is, and in the encodings that tools like."""
    for token in TOKENS:
        yield token.encode()
        yield token.encode().hex().encode()
        yield base64.b64encode(token.encode())[:-4]


class Argv(threading.Thread):
    """Reads every argument list on the machine, again and again."""

    def __init__(self):
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.seen = set()

    def run(self):
        while not self.over.is_set():
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(entry.read_bytes())
                except OSError:
                    continue


def prepare(sandbox):
    names = sorted(CANARIES)
    sandbox.service(
        "api",
        f"secret: {json.dumps(names)}\nsetup: ['env; test ! -e fail-setup']\nprocesses:\n  web:\n"
        "    ready: {exec: 'test ! -e never'}\n    stop: {script: 'env >/dev/null', grace: 1s}\n"
        "    command: 'env; while [ ! -e die ]; do sleep 0.02; done; rm die; exit 3'\n",
    )
    for number, name in enumerate(names):
        if number % 3 == 2:
            path = sandbox.root / "config/services/api/common/.env"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write(f"{name}={json.dumps(CANARIES[name], ensure_ascii=False)}\n")
        else:
            sandbox.config(["common", "services/api/common"][number % 3] + f"/{name}", CANARIES[name])


def everything(sandbox):
    """Yield what every command says, on its way through all that can go wrong."""
    folder = sandbox.root / "services/api"

    def run(*words):
        done = sandbox.run(*words, code=None)
        assert done.returncode != 70
        return words, (done.stdout + done.stderr).encode()

    yield run("-v", "up")
    yield run("up", "--json")
    for words in (
        ["plan", "--json"], ["-v", "plan"], ["status", "--json"], ["ps", "api"], ["config", "list"], ["config", "list", "--json"],
        ["identity", "--json"], ["generations", "--json"], ["config", "explain", "CANARY_1"], ["config", "get", "CANARY_2"],
    ):  # fmt: skip
        yield run(*words)
    pid = sandbox.pids()["api-web"]
    (folder / "die").touch()
    wait_until(lambda: sandbox.pids().get("api-web") not in {None, pid}, "its return")
    yield run("ps", "api", "--json")
    (folder / "never").touch()
    sandbox.config("common/CHANGED", "1")
    (sandbox.root / "services/api/service.yaml").write_text(
        (sandbox.root / "services/api/service.yaml")
        .read_text()
        .replace("test ! -e never'", "test ! -e never', timeout: 300ms")
    )
    yield run("up")
    (folder / "never").unlink()
    (folder / "fail-setup").touch()
    sandbox.config("common/CHANGED", "2")
    yield run("up")
    (folder / "fail-setup").unlink()
    kill_and_wait(sandbox.daemon)
    yield run("up")
    child = sandbox.start("up")
    child.send_signal(signal.SIGKILL)
    child.communicate()
    (sandbox.root / "config/common/LINK").symlink_to("CANARY_0")
    yield run("up")
    yield run("rollback")
    yield run("stop")
    yield run("down")


def test_no_secret_is_seen_anywhere(sandbox):
    prepare(sandbox)
    argv = Argv()
    argv.start()
    wanted = list(forms())
    sure = sandbox.run("up")
    log = sandbox.state / "log/api-web.log"
    wait_until(
        lambda: all(token.encode() in log.read_bytes() for token in TOKENS), f"all of them in its log\n{sure.stdout}"
    )
    for words, said in everything(sandbox):
        assert [form for form in wanted if form in said] == [], words
        for path in (path for path in sandbox.state.rglob("*") if path.is_file() and not path.is_symlink()):
            is_private = path.stat().st_mode & 0o077 == 0 and path.is_relative_to(sandbox.state / "run")
            is_output = path.name in {"api-web.log", "api.setup.log"}  # what the program itself has printed
            if not is_private and not is_output:
                content = path.read_bytes()
                assert [form for form in wanted if form in content] == [], path
    argv.over.set()
    argv.join()
    seen = b"\n".join(argv.seen)
    assert [form for form in wanted if form in seen] == []


def test_a_bug_tells_where_and_no_value(sandbox, tmp_path):
    """A traceback file has lines of code, and no value of any variable."""
    script = (
        "import sys, bootstrap.cli.main as main\n"
        "from bootstrap import boot\n"
        "def fail(*_):\n    secret = 'canary-in-a-frame'\n    raise RuntimeError('no detail')\n"
        "boot.up = fail\n"
        "sys.argv = ['bootstrap', '--root', sys.argv[1], '--tag', 'mode=review', 'up']\n"
        "main.main()\n"
    )
    sandbox.sleeper("api")
    from support.sandbox import COMMAND

    done = subprocess.run(
        [COMMAND.with_name("python"), "-c", script, str(sandbox.root)],
        capture_output=True,
        text=True,
        env=sandbox.environ | {"TMPDIR": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 70
    (path,) = tmp_path.glob("bootstrap-bug-*.log")
    assert path.stat().st_mode & 0o077 == 0
    assert "canary-in-a-frame" not in path.read_text().replace("secret = 'canary-in-a-frame'", "")
    assert "RuntimeError: no detail" in path.read_text()


@pytest.fixture
def alarms():
    """A file that anybody may write, as the alarm's command is run with nobody's rights."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder) / "alarms"


def test_what_outlives_a_box_that_failed_holds_no_secret(sandbox, aws, alarms):
    """Console, tags, reports and alarm of a boot whose program has printed every secret that it was given."""
    prepare(sandbox)
    for name, value in list(CANARIES.items())[:8]:
        aws.client("ssm").put_parameter(Name=f"/{name}", Value=value, Type="SecureString")
        sandbox.config(f"services/api/production/{name}.ssm", f"/{name}")
    definition = sandbox.root / "services/api/service.yaml"
    definition.write_text(definition.read_text().replace("test ! -e never'", "env >&2; exit 1', timeout: 300ms"))
    topic = aws.client("sns").create_topic(Name="alarm")["TopicArn"]
    alert = {"sns": topic, "command": ["/bin/sh", "-c", f"cat >> {alarms}"]}
    make_bucket(aws)
    (sandbox.root / "config/box.yaml").write_text(json.dumps({"alert": alert, "bucket": BUCKET}))
    instance = aws.make_box({"bootstrap:mode": "production", "bootstrap:service": "api"})
    with Ec2Box(sandbox, aws, instance) as box:
        box.boot().wait_for_status("failed")
        wait_until(box.reports, "a report in the bucket")
        wait_until(lambda: alarms.exists() and alarms.read_text().rstrip().endswith("}"), "the alarm")
        box.stop()
        printed = (sandbox.state / "log/api-web.log").read_bytes()
        assert all(token.encode() in printed for token in TOKENS)
        told = {
            "what boot said": box.output.read_bytes(),
            "console": box.console.read_bytes(),
            "tags": json.dumps(aws.tags_of(box.id)).encode(),
            "bucket": json.dumps(box.reports()).encode(),
            "report": (sandbox.state / "boot-report.json").read_bytes(),
            "alarm": alarms.read_bytes(),
            "calls": b"\n".join(repr(call).encode() for call in aws.calls if call.action != "ssm:GetParameters"),
        }
    for place, text in told.items():
        assert [form for form in forms() if form in text] == [], place
    masked = "=••••••"
    assert masked in told["console"].decode()
    assert masked in json.loads(told["alarm"])["failures"][0]
    assert masked in json.loads(told["report"])["failures"][0]
