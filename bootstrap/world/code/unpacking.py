"""A tarball → a directory of files, unpacked by a child that has given up every right first.

Only files, directories and links are taken, with no bit but "may be executed"; absolute paths, `..`, devices and `.git`
are refused. Links are made when everything else is written, so that nothing can be written through one; whether they
lead out is for ``tree`` to see.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import tarfile
import zlib
from typing import TYPE_CHECKING

from bootstrap.errors import DefinitionError
from bootstrap.spelling import harmless, quoted
from bootstrap.world import clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.world.code.apart import Stranger

LARGEST_TREE = 4 * 1024**3  # bytes
MOST_FILES = 1_000_000
MOST_MEMORY = 128 * 1024**2  # bytes beyond what the child begins with: tarfile reads long names and pax headers whole
_CHUNK = 1024 * 1024
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


class _UnfitError(ValueError):
    """A tarball that nobody should unpack; the text completes "it …"."""


def unpack(tarball: int, directory: str, stranger: Stranger | None, deadline: float, words: str) -> None:
    """Unpack a gzipped tar (a descriptor) below ``directory``; ``words`` name it. Raises DefinitionError, OSError."""
    reader, writer = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _live_and_die(tarball, directory, stranger, writer, parent)
    os.close(writer)
    try:
        told, is_late = _listen(reader, deadline)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)  # it has said its last word, or must not go on
        _, status = os.waitpid(child, 0)
    if is_late:
        told = "it takes too long to unpack"
    elif not told:
        told = f"unpacking it ended with status {status}"
    if told != "done":
        raise DefinitionError(
            f"cannot unpack {words}: {harmless(told)}\n"
            "  way out: make it anew and upload it again; what ran before still runs"
        )


def _listen(reader: int, deadline: float) -> tuple[str, bool]:
    """What the child has to say, and whether it has not said it in time."""
    told = b""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while poll.poll(max(0.0, deadline - clock.now()) * 1000):
        chunk = os.read(reader, 4096)
        if not chunk:
            return told.decode(errors="replace"), False
        told += chunk
    return "", True


def _live_and_die(tarball: int, directory: str, stranger: Stranger | None, writer: int, parent: int) -> None:
    """The child: nothing but this, and no way back into the program that it is a copy of."""
    try:
        _give_up_rights(stranger)
        if os.getppid() != parent:
            os._exit(1)
        os.umask(0o022)
        with open(tarball, "rb", closefd=False) as file, tarfile.open(fileobj=file, mode="r:gz") as tar:
            _write_all(tar, directory)
        told = "done"
    except (_UnfitError, OSError, EOFError, zlib.error, tarfile.TarError, ValueError) as error:
        told = str(error) or type(error).__name__
    except MemoryError:
        told = f"it takes more than {MOST_MEMORY} bytes of memory to unpack"
    except BaseException as error:  # noqa: BLE001 - whatever it was: this process must not go on as its parent
        told = f"{type(error).__name__}: {error}"
    os.write(writer, told.encode(errors="replace")[:2000])
    os._exit(0)


def _give_up_rights(stranger: Stranger | None) -> None:
    if stranger is not None:
        os.setgroups([])
        os.setresgid(stranger.gid, stranger.gid, stranger.gid)
        os.setresuid(stranger.uid, stranger.uid, stranger.uid)
    used = sum(int(line.split()[1]) for line in _read_status() if line.startswith(b"VmData:")) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + MOST_MEMORY, used + MOST_MEMORY))
    library = ctypes.CDLL(None)
    library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _read_status() -> list[bytes]:
    with open("/proc/self/status", "rb") as file:  # a codec could not be imported any more
        return file.readlines()


def _write_all(tar: tarfile.TarFile, directory: str) -> None:
    links: list[tuple[str, str, bool]] = []
    total, count = 0, 0
    while (member := tar.next()) is not None:
        tar.members = []  # type: ignore[attr-defined]  # it would remember them all
        count, total = count + 1, total + member.size
        if count > MOST_FILES or total > LARGEST_TREE:
            raise _UnfitError(f"it holds more than {MOST_FILES} files or {LARGEST_TREE} bytes")
        inner = _judge_path(member.name)
        path = f"{directory}/{inner}" if inner else directory
        os.makedirs(path if member.isdir() else os.path.dirname(path), exist_ok=True)
        if member.issym():
            links.append((path, member.linkname, False))
        elif member.islnk():
            links.append((path, f"{directory}/{_judge_path(member.linkname)}", True))
        elif member.isreg():
            _write_file(tar, member, path)
        elif not member.isdir():
            raise _UnfitError(f"it holds {quoted(member.name)}, which is neither a file nor a directory")
    for path, target, is_hard in _hard_first(links):
        if is_hard:
            os.link(target, path, follow_symlinks=False)
        else:
            os.symlink(target, path)


def _hard_first(links: list[tuple[str, str, bool]]) -> Iterator[tuple[str, str, bool]]:
    """A hard link to a link would be made before what it names."""
    yield from (link for link in links if link[2])
    yield from (link for link in links if not link[2])


def _judge_path(name: str) -> str:
    """A member's path below the directory; `./` in front means nothing."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise _UnfitError(f"it holds {quoted(name)}, which leads out of it")
    if any(part.lower() == ".git" for part in parts):
        raise _UnfitError(f"it holds {quoted(name)}: a repository has no place in a tarball")
    return "/".join(parts)


def _write_file(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    content = tar.extractfile(member)
    assert content is not None  # noqa: S101 - it is a regular file; this tells the type checker
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o755 if member.mode & 0o100 else 0o644)
    with open(descriptor, "wb") as file:
        while chunk := content.read(_CHUNK):
            file.write(chunk)
