"""What is written for those who can only read the console."""

from __future__ import annotations

import os

import pytest

from bootstrap.world.console import find_console, write_console


def test_lines_carry_our_name_and_nothing_a_terminal_would_obey(tmp_path):
    console = tmp_path / "console"
    console.write_bytes(b"kernel\r\n")
    write_console(str(console), ["booting", "a\x1b[2J\nb"])
    assert console.read_bytes() == b"kernel\r\nbootstrap: booting\r\nbootstrap: a\\x1b[2J\\nb\r\n"


def test_a_console_that_is_not_there_or_full_holds_up_nothing(tmp_path):
    write_console(None, ["x"])
    write_console(str(tmp_path / "none"), ["x"])
    assert not (tmp_path / "none").exists()
    write_console("/dev/full", ["x"])
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    write_console(str(fifo), ["nobody reads"])


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"}, "/dev/console"),
        ({"AWS_EC2_METADATA_DISABLED": "true"}, None),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1", "BOOTSTRAP_CONSOLE": "off"}, None),
        ({"AWS_EC2_METADATA_DISABLED": "true", "BOOTSTRAP_CONSOLE": "/dev/ttyS0"}, "/dev/ttyS0"),
    ],
)
def test_only_a_box_on_ec2_has_readers_there(environ, expected):
    assert find_console(environ) == expected
