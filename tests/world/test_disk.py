from __future__ import annotations

import errno
import os
import stat

import pytest

from bootstrap.box import Box
from bootstrap.errors import Unavailable
from bootstrap.world import disk, store

AFTER = "  what runs goes on; way out: mend the disk or its permissions and run the command again"


def test_a_write_replaces_the_content_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    disk.write_durably(str(path), b"one")
    disk.write_durably(str(path), b"two", 0o640)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_the_mode_is_exact_under_any_umask_and_never_wider_before(tmp_path, umask, monkeypatch):
    modes = []
    write = os.write

    def spy(descriptor, content):
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode) & ~0o600)
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", spy)
    before = os.umask(umask)
    try:
        disk.write_durably(str(tmp_path / "file"), b"secret", 0o600)
    finally:
        os.umask(before)
    assert modes == [0]
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_the_file_is_flushed_before_the_rename_and_the_directory_after_it(tmp_path, monkeypatch):
    calls = []
    fsync, rename = os.fsync, os.rename

    def spy_fsync(descriptor):
        calls.append("flush " + ("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"))
        fsync(descriptor)

    def spy_rename(old, new):
        calls.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "rename", spy_rename)
    disk.write_durably(str(tmp_path / "file"), b"x")
    assert calls == ["flush file", "rename", "flush directory"]


@pytest.mark.parametrize("failing", ["write", "fsync", "rename", "open"])
def test_a_disk_that_refuses_leaves_the_old_content_alone(tmp_path, monkeypatch, failing):
    path = tmp_path / "file"
    disk.write_durably(str(path), b"old")

    def refuse(*_arguments, **_keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, refuse)
        with pytest.raises(Unavailable) as caught:
            disk.write_durably(str(path), b"new")
    assert str(caught.value) == f'cannot write "{path}": No space left on device\n{AFTER}'
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_short_write_is_finished(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, bytes(content[:3])))
    disk.write_durably(str(tmp_path / "file"), b"0123456789")
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_absent_is_none_and_a_link_is_refused(tmp_path):
    assert disk.read_if_there(str(tmp_path / "nothing")) is None
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(Unavailable) as caught:
        disk.read_if_there(str(tmp_path / "link"))
    assert str(caught.value) == f'cannot read "{tmp_path}/link": Too many levels of symbolic links\n{AFTER}'


def test_a_directory_gets_its_exact_mode_and_a_link_in_its_place_is_refused(tmp_path):
    disk.make_directory(str(tmp_path / "a" / "b"), 0o700)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(Unavailable) as caught:
        disk.make_directory(str(tmp_path / "link"), 0o700)
    assert str(caught.value) == f'cannot make the directory "{tmp_path}/link": File exists\n{AFTER}'


def said_to_nobody(act):
    """What somebody without rights is told: in a child, for the interpreter may stand where he may not look."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            act()
        except Unavailable as error:
            os.write(writable, str(error).encode())
        finally:
            os._exit(0)
    os.close(writable)
    with open(readable) as said:
        text = said.read()
    os.waitpid(child, 0)
    return text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_what_belongs_to_somebody_else_is_told_with_his_number(tmp_path):
    (tmp_path / "generations").mkdir()
    tmp_path.chmod(0o700)
    box = Box(root=str(tmp_path), state=str(tmp_path))
    refusals = {
        "read": said_to_nobody(lambda: disk.read_if_there(f"{tmp_path}/key")),
        "remove": said_to_nobody(lambda: disk.remove_if_there(f"{tmp_path}/key")),
        "list": said_to_nobody(lambda: store.read_generations(box)),
    }
    way_out = "  what runs goes on; way out: run as user 0, to whom it belongs"
    assert refusals == {
        "read": f'cannot read "{tmp_path}/key": Permission denied\n{way_out}',
        "remove": f'cannot remove "{tmp_path}/key": Permission denied\n{way_out}',
        "list": f'cannot read "{tmp_path}/generations": Permission denied\n{way_out}',
    }
