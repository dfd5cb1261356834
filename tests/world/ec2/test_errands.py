"""Errands: children that talk to AWS for a process that stays."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from bootstrap.errors import Unavailable
from bootstrap.world import children
from bootstrap.world.aws import DeniedError
from bootstrap.world.ec2.clerk import Clerk
from bootstrap.world.ec2.errands import ERRANDS, Errands
from support.aws_server import VARIABLES, ScriptedAws, ec2_error, tag_page
from support.sandbox import wait_until

WAY_OUT = "\n  way out: see that this machine reaches AWS, and try again"


@pytest.fixture
def environ():
    """No test of errands finds what it did not bring along."""
    return VARIABLES | {"PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture
def make(environ):
    made = []

    def make(**more):
        made.append(Errands(environ | more))
        return made[-1]

    yield make
    for errands in made:
        errands.end()


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """Children are this script of sh instead."""

    def pretend(script):
        path = tmp_path / "child"
        path.write_text(f"#!/bin/sh\nanswer() {{ printf '\\036%s\\n' \"$1\"; }}\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return pretend


def read_tags(errands, **options):
    return errands.run("read-instance-tags", instance_id="i-1", region="eu-west-1", **options)


def failure_of(errands, **options):
    with pytest.raises(Unavailable) as caught:
        read_tags(errands, **options)
    assert type(caught.value) is Unavailable
    return str(caught.value)


def test_the_result_of_an_errand_is_what_its_function_returns(make):
    with ScriptedAws((200, tag_page("Name", "grün\n☃"))) as aws:
        assert read_tags(make(AWS_ENDPOINT_URL=aws.endpoint)) == {"Name": "grün\n☃"}


def test_its_error_is_raised_here_with_its_type_and_text(make):
    with ScriptedAws((403, ec2_error("UnauthorizedOperation"))) as aws, pytest.raises(DeniedError) as caught:
        read_tags(make(AWS_ENDPOINT_URL=aws.endpoint))
    assert str(caught.value) == (
        'cannot read the tags of instance "i-1": access denied (UnauthorizedOperation)\n'
        "  way out: grant ec2:DescribeTags to the role of this machine, as statement Read of image/iam/policy.json does"
    )


def test_an_error_that_only_the_child_can_tell_apart_is_raised_as_what_it_is_here(make):
    with ScriptedAws((503, ec2_error("RequestLimitExceeded"))) as aws:
        text = failure_of(make(AWS_ENDPOINT_URL=aws.endpoint), patience_s=0)
    assert text == (
        'cannot read the tags of instance "i-1": AWS answered RequestLimitExceeded to ec2:DescribeTags (no)\n'
        "  way out: wait a moment and run the command again"
    )


def test_an_unknown_errand_is_a_bug(make):
    with pytest.raises(KeyError, match="read-tea-leaves"):
        make().begin("read-tea-leaves")


@pytest.mark.parametrize("name", ERRANDS)
def test_every_errand_leads_to_a_function_that_can_be_called_by_keywords(name):
    module, _, function = ERRANDS[name].partition(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), function)).parameters
    assert "timeout_s" not in parameters
    assert all(one.kind in {one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY} for one in parameters.values())


def test_a_child_that_exceeds_its_deadline_is_ended_with_all_that_it_has_started(make, pretend, tmp_path):
    pretend(f"sleep 1000 & echo $! > {tmp_path}/pid; wait")
    assert failure_of(make(), timeout_s=0.2) == (
        f'cannot run errand "read-instance-tags": it did not end within 0.2 s{WAY_OUT}'
    )
    wait_until(lambda: is_gone(int((tmp_path / "pid").read_text())), "the end of the grandchild")


def test_what_a_child_leaves_behind_ends_with_it(make, pretend, tmp_path):
    pretend(f"sleep 1000 >/dev/null & echo $! > {tmp_path}/pid; answer '{{\"result\": 1}}'")
    errands = make()
    assert read_tags(errands) == 1
    errands.end()
    wait_until(lambda: is_gone(int((tmp_path / "pid").read_text())), "the end of the grandchild")


def is_gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("exit 0", "it exited with code 0 without an answer"),
        ("answer ''", "its answer makes no sense"),
        ("answer hello", "its answer makes no sense: hello"),
        ("answer '[1]'", "its answer makes no sense: [1]"),
        ("answer 7", "its answer makes no sense: 7"),
        ("""answer '{"error": {"type": "KeyError"}}'""", 'its answer makes no sense: {"error": {"type": "KeyError"}}'),
        ("answer \"$(printf '\\033[1m')\"", "its answer makes no sense: \\x1b[1m"),
        ("echo sad; exit 3", "it exited with code 3 without an answer: sad"),
        ("printf '\\036{'; exit 3", "it exited with code 3 without an answer: {"),
        ("""echo '{"result": 1}'; exit 3""", 'it exited with code 3 without an answer: {"result": 1}'),
        ("kill -9 $$", "it was killed by SIGKILL without an answer"),
        ("kill -36 $$", "it was killed by signal 36 without an answer"),
    ],
)
def test_a_child_without_an_answer_is_unavailable(make, pretend, script, cause):
    pretend(script)
    assert failure_of(make()) == f'cannot run errand "read-instance-tags": {cause}{WAY_OUT}'


def test_a_bug_in_the_child_is_told_with_its_last_line(make):
    with pytest.raises(Unavailable) as caught:
        make().run("read-instance-tags", moon="full")
    assert str(caught.value) == (
        'cannot run errand "read-instance-tags": it exited with code 1 without an answer: '
        f"TypeError: read_instance_tags() got an unexpected keyword argument 'moon'{WAY_OUT}"
    )


def test_a_child_that_cannot_be_started_is_unavailable(make, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert failure_of(make()) == (
        f'cannot run errand "read-instance-tags": it can\'t be started: No such file or directory{WAY_OUT}'
    )


def test_noise_before_the_answer_does_no_harm(make, pretend):
    pretend("""echo 'Warning: {"result": 2}' >&2; echo '{"result": 3}'; answer '{"result": 1}'""")
    assert read_tags(make()) == 1


def test_request_and_answer_may_be_larger_than_a_pipe(make, pretend):
    pretend("""printf '\\n\\036{"result": '; head -n 1 | tr -d '\\n'; echo '}'""")
    body = "☃" * 500_000
    assert make().run("read-instance-tags", instance_id=body, timeout_s=30) == {
        "name": "read-instance-tags",
        "timeout_s": 30,
        "arguments": {"instance_id": body},
    }


def test_a_child_need_not_read_its_request(make, pretend):
    pretend("""exec <&-; answer '{"result": 1}'""")
    assert make().run("read-instance-tags", instance_id="x" * 1_000_000) == 1


def test_a_child_inherits_how_aws_is_reached_and_nothing_else(make, pretend, tmp_path):
    pretend(f"env > {tmp_path}/env; tr '\\0' ' ' < /proc/$$/cmdline > {tmp_path}/words; answer '{{\"result\": 1}}'")
    wanted = {"https_proxy": "http://p", "NO_PROXY": "x", "SSL_CERT_FILE": "/c", "LANG": "C", "AWS_PROFILE": "p"}
    read_tags(make(**wanted, DATABASE_URL="secret", BOOTSTRAP_STATE="/s", PYTHONPATH="/evil", LD_PRELOAD="/evil.so"))
    seen = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert seen.keys() - {"PWD", "_", "OLDPWD", "SHLVL"} == {*VARIABLES, "PATH", "AWS_EC2_METADATA_DISABLED", *wanted}
    assert (tmp_path / "words").read_text().endswith(f"{tmp_path}/child -I -m bootstrap.world.ec2.errand ")


def test_a_child_runs_one_errand_after_another(make, pretend):
    pretend("""while read -r request; do answer "{\\"result\\": $$}"; done""")
    errands = make()
    assert len({read_tags(errands) for _ in range(5)}) == 1


def test_a_child_that_ended_meanwhile_is_replaced(make, pretend):
    pretend("""read -r request; answer "{\\"result\\": $$}"; read -r request; exit 1""")
    errands = make()
    pid = read_tags(errands)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_gone(pid), "its end")
    assert read_tags(errands) != pid


def test_an_errand_that_found_no_answer_takes_no_other_along(make, pretend, tmp_path):
    pretend(f"""read -r request
        if mkdir {tmp_path}/first 2>/dev/null; then exit 3; fi
        answer '{{"result": 1}}'""")
    errands = make()
    assert failure_of(errands) == (
        f'cannot run errand "read-instance-tags": it exited with code 3 without an answer{WAY_OUT}'
    )
    assert read_tags(errands) == 1


def test_a_child_that_waits_in_vain_is_sent_away(make, pretend, monkeypatch):
    pretend("""while read -r request; do answer "{\\"result\\": $$}"; done""")
    monkeypatch.setattr("bootstrap.world.ec2.errands.IDLE_S", 0.01)
    errands = make()
    pid = read_tags(errands)
    wait_until(lambda: not psutil.pid_exists(pid), "its end, and nothing left of it")
    assert read_tags(errands) != pid


def test_errands_run_side_by_side(make, pretend, tmp_path):
    """Each waits for the other."""
    pretend(f"""mkfifo {tmp_path}/fifo 2>/dev/null
        if mkdir {tmp_path}/first 2>/dev/null; then echo x > {tmp_path}/fifo; else read x < {tmp_path}/fifo; fi
        answer '{{"result": 1}}'""")
    errands = make()
    begun = [errands.begin("read-group-name") for _ in range(2)]
    assert [one.result() for one in begun] == [1, 1]


def test_an_end_ends_what_is_under_way_and_begins_nothing_more(make, pretend, tmp_path):
    pretend(f"mktemp {tmp_path}/begun.XXXXXX >/dev/null; exec sleep 1000")
    errands = make()
    begun = [errands.begin("read-group-name") for _ in range(6)]
    wait_until(lambda: len(list(tmp_path.glob("begun.*"))) == 4, "as many children as there are at once")
    errands.end()
    begun.append(errands.begin("read-group-name"))
    texts = {str(one.exception()) for one in begun}
    assert texts == {'cannot run errand "read-group-name": bootstrap is stopping\n  way out: start it again'}
    assert len(list(tmp_path.glob("begun.*"))) == 4


def test_an_errand_that_nobody_waits_for_any_more_is_ended_alone(make, pretend, tmp_path):
    pretend(f"""while read -r request; do
        case "$request" in *i-long*) touch {tmp_path}/begun; sleep 1000;; esac
        answer '{{"result": 1}}'
    done""")
    errands = make()
    long = errands.begin("read-instance-tags", instance_id="i-long")
    wait_until((tmp_path / "begun").exists, "the long one to begin")
    errands.abandon(long)
    assert str(long.exception(10)) == (
        f'cannot run errand "read-instance-tags": it was killed by SIGKILL without an answer{WAY_OUT}'
    )
    done = errands.begin("read-instance-tags", instance_id="i-short")
    assert done.result(10) == 1
    errands.abandon(done)  # too late, and no harm


def test_a_reaper_takes_no_errand(make, pretend):
    pretend("""answer '{"result": 1}'; sleep 0.001""")
    seen = []

    def run():
        for _ in range(30):
            errands = make()
            seen.append(read_tags(errands))
            errands.end()

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        children.reap()
    assert seen == [1] * 30


def test_a_child_whose_parent_is_gone_ends_by_itself(environ):
    """It waits for an answer that never comes; nobody is left to end it."""
    with ScriptedAws() as aws:
        held = threading.Event()
        aws.answer = lambda _: (held.wait(30), (500, ""))[1]
        request = {
            "name": "read-instance-tags",
            "timeout_s": 0,
            "arguments": {"instance_id": "i-1", "region": "eu-west-1"},
        }
        child = subprocess.Popen(
            [sys.executable, "-I", "-m", "bootstrap.world.ec2.errand"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=environ | {"AWS_ENDPOINT_URL": aws.endpoint},
        )
        child.communicate(f"{json.dumps(request)}\n".encode(), timeout=30)
        held.set()
    assert child.returncode == -signal.SIGALRM


def test_whoever_runs_errands_never_imports_boto3(environ):
    script = (
        "import os, sys; from bootstrap.world.ec2.errands import Errands; errands = Errands(os.environ)\n"
        "print(errands.run('read-instance-tags', instance_id='i-1', region='eu-west-1'))\n"
        "errands.end(); print([name for name in sys.modules if name.startswith(('boto', 'urllib3'))])"
    )
    with ScriptedAws((200, tag_page("Name", "box"))) as aws:
        done = subprocess.run(
            [sys.executable, "-I", "-c", script],
            env=environ | {"AWS_ENDPOINT_URL": aws.endpoint},
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == "{'Name': 'box'}\n[]\n"


def test_an_errand_that_is_abandoned_before_its_child_is_there_never_begins(make, pretend, monkeypatch, tmp_path):
    """Old news that is taken back must not come after the new."""
    pretend(f"read -r request; touch {tmp_path}/begun; answer '{{\"result\": 1}}'")
    is_engaging, may_go_on = threading.Event(), threading.Event()

    class SlowClerk(Clerk):
        def __init__(self, environ):
            is_engaging.set()
            may_go_on.wait(10)
            super().__init__(environ)

    monkeypatch.setattr("bootstrap.world.ec2.errands.Clerk", SlowClerk)
    errands = make()
    taken_back = errands.begin("read-group-name")
    assert is_engaging.wait(10)
    errands.abandon(taken_back)
    may_go_on.set()
    assert str(taken_back.exception(10)) == (
        f'cannot run errand "read-group-name": nobody waits for it any more{WAY_OUT}'
    )
    assert not (tmp_path / "begun").exists()
    assert errands.run("read-group-name") == 1


def test_where_there_is_no_room_for_a_thread_an_errand_fails_and_a_later_one_does_not(make, pretend, monkeypatch):
    pretend("""answer '{"result": 1}'""")
    errands = make()

    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        for _ in range(5):
            assert failure_of(errands) == (
                f'cannot run errand "read-instance-tags": this machine has no room for another thread{WAY_OUT}'
            )
    assert read_tags(errands) == 1
