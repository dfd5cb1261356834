"""Telling what happens to somebody who does not listen: it is dropped, and holds up nobody."""

from __future__ import annotations

import fcntl
import os

import pytest

from bootstrap.world import outlet

ROOM = 64 * 1024


@pytest.fixture
def pipe():
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, ROOM)
    yield read, write
    os.close(read)
    os.close(write)


def told(read):
    return os.read(read, 2 * ROOM)


def test_what_nobody_takes_is_dropped_and_counted(pipe):
    read, write = pipe
    stream = outlet.Outlet(write, patience_s=0.0)
    line = b"x" * 4095 + b"\n"  # a page: what a pipe counts its room in
    for _ in range(ROOM // len(line) + 3):
        assert stream.write(line) == len(line)
    assert told(read) == line * (ROOM // len(line))
    stream.write(b"again\n")
    stream.write(b"and on\n")
    assert told(read) == "… (nobody took 3 more)\nagain\nand on\n".encode()


def test_a_text_that_fits_nowhere_is_cut(pipe):
    read, write = pipe
    stream = outlet.Outlet(write, patience_s=0.0)
    stream.write(bytes(3 * ROOM))
    assert told(read) == bytes(ROOM)
    stream.write(b"on\n")
    assert told(read) == "… (nobody took 1 more)\non\n".encode()


def test_room_that_somebody_else_takes_is_not_waited_for(pipe, monkeypatch):
    read, write = pipe
    stream = outlet.Outlet(write)
    os.write(write, bytes(ROOM))
    monkeypatch.setattr(outlet.Outlet, "_has_room", lambda *_: True)
    stream.write(b"late\n")
    assert told(read) == bytes(ROOM)
    stream.write(b"on\n")
    assert told(read) == "… (nobody took 1 more)\non\n".encode()


def test_an_outlet_is_a_stream_as_any_other(pipe):
    read, write = pipe
    with open(write, "w", encoding="utf-8", closefd=False) as before:
        stream = outlet.never_waiting(before)
        assert (stream.fileno(), stream.isatty(), stream.encoding) == (write, False, "utf-8")
        stream.write("schön\n")
    assert told(read) == "schön\n".encode()


def test_where_there_is_no_descriptor_there_is_nothing_to_wait_for():
    class Text:
        def fileno(self):
            raise OSError

    text = Text()
    assert outlet.never_waiting(text) is text


def test_nobody_at_all_is_an_error_as_ever():
    read, write = os.pipe()
    os.close(read)
    with pytest.raises(BrokenPipeError):
        outlet.Outlet(write).write(b"x")
    os.close(write)
