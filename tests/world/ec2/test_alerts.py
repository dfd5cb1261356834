"""Telling people: topic, webhook, command."""

from __future__ import annotations

import http.server
import json
import os
import threading
from pathlib import Path

import pytest

from bootstrap.errors import Unavailable
from bootstrap.world.aws import DeniedError
from bootstrap.world.ec2.alerts import alert

DOCUMENT = {"group": "boxes", "failures": ["grün\n☃"]}
TOLD = {"subject": "box: launches are stopped", **DOCUMENT}


def tell(subject=TOLD["subject"], **ways):
    alert(**{"sns": None, "webhook": None, "command": None} | ways, subject=subject, document=DOCUMENT)


def failure_of(**ways):
    with pytest.raises(Unavailable) as caught:
        tell(**ways)
    return str(caught.value)


class Webhook:
    def __init__(self):
        self.status, self.headers, self.got = 200, {}, []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/hook?token=hush"

    def _handler(self):
        webhook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                webhook.got.append((self.path, self.headers["Content-Type"], body))
                self.send_response(webhook.status)
                for name, value in webhook.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def do_GET(self):
                self.do_POST()

            def log_message(self, *_):
                pass

        return Handler

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def webhook():
    made = Webhook()
    yield made
    made.stop()


@pytest.fixture
def script(tmp_path):
    """A command that anybody may run, whatever the directory of this test is like."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="alert-", dir="/tmp") as directory:
        os.chmod(directory, 0o777)

        def make(text):
            path = f"{directory}/command"
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"#!/bin/sh\ncd {directory}\n{text}\n")
            os.chmod(path, 0o755)
            return [path, "--urgent"]

        make.directory = directory
        yield make


def test_nobody_is_told_where_nobody_is_named():
    tell()


# --- SNS


@pytest.fixture
def topic(aws):
    return aws.client("sns").create_topic(Name="bootstrap")["TopicArn"]


def test_a_topic_gets_the_document_under_the_subject(aws, topic):
    tell(sns=topic, subject="böse\n" + "x" * 200)
    (call,) = aws.gate.calls_of("sns:Publish")
    assert call.parameters["TopicArn"] == topic
    assert call.parameters["Subject"] == "b?se?" + "x" * 94
    assert json.loads(call.parameters["Message"]) == TOLD | {"subject": "böse\n" + "x" * 200}


def test_a_denied_topic_is_told_with_the_grant(aws, topic):
    aws.gate.deny("sns:Publish")
    with pytest.raises(DeniedError) as caught:
        tell(sns=topic)
    assert str(caught.value) == (
        f'cannot publish to SNS topic "{topic}": access denied (AccessDenied)\n'
        f"  way out: grant sns:Publish on {topic} to the role of this machine, as statement Alert of "
        "image/iam/policy.json does"
    )


# --- webhook


def test_a_webhook_gets_the_document(webhook):
    tell(webhook=webhook.address)
    ((path, kind, body),) = webhook.got
    assert (path, kind, json.loads(body)) == ("/hook?token=hush", "application/json", TOLD)


def test_a_webhook_nearby_is_not_asked_through_a_proxy(webhook, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    tell(webhook=webhook.address)
    assert webhook.got


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(webhook, status):
    webhook.status, webhook.headers = status, {"Location": webhook.address}
    assert failure_of(webhook=webhook.address) == (
        f'cannot alert the webhook at "127.0.0.1": it answered {status}\n  way out: see what the other side wants'
    )
    assert len(webhook.got) == 1


def test_a_refusal_is_told_without_the_token(webhook):
    webhook.status = 403
    assert failure_of(webhook=webhook.address) == (
        'cannot alert the webhook at "127.0.0.1": it answered 403\n  way out: see what the other side wants'
    )


@pytest.mark.parametrize("address", ["http://example.com/x", "ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_nothing_goes_out_in_clear(address):
    host = address.split("/")[2]
    assert failure_of(webhook=address) == (
        f'cannot alert the webhook at "{host}": it is not https\n  way out: give an https address'
    )


def test_a_webhook_out_of_reach_is_told():
    assert failure_of(webhook="https://127.0.0.1:1/x") == (
        'cannot alert the webhook at "127.0.0.1": Connection refused\n  way out: see that this machine reaches it'
    )


def test_a_webhook_that_hangs_is_given_up(webhook, monkeypatch):
    import socket

    monkeypatch.setattr("bootstrap.world.ec2.alerts._TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        assert failure_of(webhook=address) == (
            'cannot alert the webhook at "127.0.0.1": no answer within 0.2 s\n  way out: see that this machine reaches it'
        )


# --- command


def test_a_command_gets_the_document_and_nobodys_rights(script, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    words = script("cat > told; id -u > user; id -G > groups; env > env; echo $1 > word")
    tell(command=words)

    def read(name):
        return Path(script.directory, name).read_text()

    assert json.loads(read("told")) == TOLD
    assert read("word") == "--urgent\n"
    assert "hush" not in read("env")
    if os.geteuid() == 0:
        assert (read("user"), read("groups")) == ("65534\n", "65534\n")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("echo no; exit 3", "it exited with code 3: no"),
        ("exit 3", "it exited with code 3"),
        ("printf '\\033[1m\\n' >&2; exit 1", "it exited with code 1: \\x1b[1m"),
        ("kill -9 $$", "it was killed by signal 9"),
    ],
)
def test_a_command_that_fails_is_told_with_its_last_line(script, text, cause):
    words = script(text)
    assert failure_of(command=words) == (
        f'cannot alert with command "{words[0]}": {cause}\n'
        '  way out: run it by hand as the user "nobody", with JSON on its standard input'
    )


def test_a_command_that_hangs_is_ended_whatever_it_has_started(script, monkeypatch):
    monkeypatch.setattr("bootstrap.world.ec2.alerts._COMMAND_S", 0.3)
    words = script("sleep 5 & exec sleep 5")
    assert "it did not end within 0.3 s" in failure_of(command=words)


def test_a_command_that_is_not_there_is_told():
    assert failure_of(command=["/nonexistent"]) == (
        'cannot alert with command "/nonexistent": No such file or directory\n'
        '  way out: run it by hand as the user "nobody", with JSON on its standard input'
    )


# --- all together


def test_all_are_tried_and_all_that_went_wrong_is_told(aws, webhook, script):
    webhook.status = 500
    missing = "arn:aws:sns:eu-west-1:123456789012:missing"
    text = failure_of(sns=missing, webhook=webhook.address, command=script("cat > told; exit 4"))
    assert [line for line in text.splitlines() if not line.startswith("  ")] == [
        f'cannot publish to SNS topic "{missing}": AWS answered NotFound to sns:Publish (Endpoint does not exist)',
        'cannot alert the webhook at "127.0.0.1": it answered 500',
        f'cannot alert with command "{script.directory}/command": it exited with code 4',
    ]
    assert os.path.getsize(f"{script.directory}/told")
