"""What systemd hears."""

from __future__ import annotations

import os
import socket

import pytest

from bootstrap.world.notify import Notify


@pytest.fixture(params=["path", "abstract"])
def listener(request, tmp_path):
    address = f"{tmp_path}/notify" if request.param == "path" else f"@bootstrap-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        receiver.settimeout(5)
        yield address, lambda: receiver.recv(4096).decode()


def test_every_word(listener):
    address, hear = listener
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000", "PATH": "/bin"}
    notify = Notify(environ)
    assert environ == {"PATH": "/bin"}, "children must not speak for us"
    assert notify.watchdog_s == 15.0
    notify.status("booting: a\nREADY=1")
    assert hear() == "STATUS=booting: a\\nREADY=1"
    notify.ready("ready")
    assert hear() == "READY=1\nSTATUS=ready"
    notify.alive()
    assert hear() == "WATCHDOG=1"
    notify.extend(900.0)
    assert hear() == "EXTEND_TIMEOUT_USEC=900000000"
    notify.stopping("draining: asked to")
    assert hear() == "STOPPING=1\nSTATUS=draining: asked to"


@pytest.mark.parametrize(
    "environ",
    [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/at/all"}, {"NOTIFY_SOCKET": "vsock:2:1"}],
)
def test_where_nobody_listens_it_is_silent(environ):
    notify = Notify(environ)
    notify.ready("ready")
    assert notify.watchdog_s is None


@pytest.mark.parametrize(("usec", "pid"), [("0", ""), ("soon", ""), ("1000000", "1")])
def test_a_watchdog_that_is_off_or_somebody_elses(usec, pid):
    assert Notify({"WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}).watchdog_s is None
