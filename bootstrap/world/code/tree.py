"""The directory of one version of a service's code: made apart, looked through, given to its owner, put in place.

It belongs to the service's user where all its processes have the same one, so that `setup` can write beside the code
(`npm ci`, a virtual environment); else to root. Everybody may read it, nobody else may write to it. No link in it leads
out of it, and there is nothing in it but files, directories and links.

It appears in its place whole or not at all, flushed to the disk; what a killed run has left is removed by the next.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bootstrap.checkout import describe_code, folder_of
from bootstrap.errors import DefinitionError, Unavailable
from bootstrap.frozen import dataclass
from bootstrap.spelling import quoted
from bootstrap.world import disk, store
from bootstrap.world.code import apart

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from bootstrap.box import Box
    from bootstrap.definition import Code

KEPT = 5  # of each service
DIGEST_IN_NAME = 12  # characters, of a tarball's


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whom the files are given to."""

    uid: int
    gid: int


def open_mirrors(box: Box) -> None:
    """Make the directory that only we and the fetching stranger may enter. Raises DefinitionError, Unavailable."""
    stranger = apart.read_stranger()
    disk.make_directory(box.code, 0o755)
    apart.check_way(f"{box.code}/x", stranger)
    if not os.path.isdir(box.mirrors):
        try:
            apart.make_private(box.mirrors, stranger)
        except OSError as error:
            raise disk.refused("make the directory", box.mirrors, error) from error


def is_there(box: Box, code: Code, owner: Owner) -> bool:
    """Whether this version stands in its place, with the right owner."""
    try:
        return os.lstat(folder_of(code, box.code)).st_uid == owner.uid
    except (FileNotFoundError, NotADirectoryError):
        return False


def find_version(box: Box, service: str, version: str) -> str | None:
    """The directory of a tarball's version that is here, the newest of those that bore this name."""
    folder = f"{box.code}/{service}"
    prefix = f"{version.replace('/', '_')}-"
    fit = [name for name in _names(folder) if name.startswith(prefix) and len(name) == len(prefix) + DIGEST_IN_NAME]
    return max(fit, key=lambda name: os.lstat(f"{folder}/{name}").st_mtime_ns, default=None)


def touch(box: Box, code: Code) -> None:
    """Note that it is wanted now: the newest are kept."""
    with contextlib.suppress(OSError):
        os.utime(folder_of(code, box.code))


@contextmanager
def made(box: Box, code: Code, owner: Owner) -> Iterator[str]:
    """An empty directory of the stranger's to write into; if nothing is raised it is put in its place at the end."""
    final = folder_of(code, box.code)
    partial = f"{box.mirrors}/.new-{code.service}-{code.version}"
    store.remove_tree(partial)
    try:
        apart.make_strangers(partial, apart.read_stranger())
        yield partial
        _settle(partial, code, owner)
        _flush(partial)
        disk.make_directory(os.path.dirname(final), 0o755)
        if os.path.lexists(final):
            store.remove_entry(final)  # it belongs to somebody else
        os.rename(partial, final)
        disk.flush_directory(os.path.dirname(final))
    except OSError as error:
        raise Unavailable(
            f"cannot write the code of service {quoted(code.service)}: {error.strerror or error}\n"
            f"  where: {partial}, {describe_code(code)}\n"
            "  what runs goes on; way out: make room there and run the command again"
        ) from error
    finally:
        with contextlib.suppress(Unavailable):
            store.remove_tree(partial)


def prune(box: Box, used: Collection[str]) -> None:
    """Remove all but the newest of each service, and none whose path is in ``used``."""
    for service in _names(box.code):
        paths = [f"{box.code}/{service}/{name}" for name in _names(f"{box.code}/{service}")]
        newest_first = sorted(paths, key=lambda path: os.lstat(path).st_mtime_ns, reverse=True)
        for path in newest_first[KEPT:]:
            if path not in used:
                store.remove_entry(path)


def has_many(box: Box) -> bool:
    """Whether there is anything to prune."""
    return any(len(_names(f"{box.code}/{service}")) > KEPT for service in _names(box.code))


def _names(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _settle(top: str, code: Code, owner: Owner) -> None:
    """Refuse what no service's code may hold, and hand the rest over. Nobody else can write to it meanwhile."""
    real = os.path.realpath(top)
    for folder, directories, files, descriptor in os.fwalk(top):
        for name in (*directories, *files):
            status = os.lstat(name, dir_fd=descriptor)
            path = f"{folder}/{name}"
            if stat.S_ISLNK(status.st_mode):
                _refuse_leading_out(path, real, code)
            elif not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                raise _refusal(path, real, code, "is neither a file nor a directory")
            else:
                os.chmod(name, 0o755 if status.st_mode & 0o111 else 0o644, dir_fd=descriptor)
            if os.geteuid() == 0:
                os.chown(name, owner.uid, owner.gid, dir_fd=descriptor, follow_symlinks=False)
    os.chmod(top, 0o755)  # noqa: S103 - services read it
    if os.geteuid() == 0:
        os.chown(top, owner.uid, owner.gid)


def _refuse_leading_out(path: str, top: str, code: Code) -> None:
    target = os.readlink(path)
    led = os.path.realpath(path)
    if target.startswith("/") or not (led == top or led.startswith(f"{top}/")):
        raise _refusal(path, top, code, f"is a link that leads out of it, to {quoted(target)}")


def _refusal(path: str, top: str, code: Code, cause: str) -> DefinitionError:
    inner = path.removeprefix(f"{top}/")
    return DefinitionError(
        f"cannot use the code of service {quoted(code.service)}, {describe_code(code)}: {quoted(inner)} {cause}\n"
        "  way out: take it out of there (a `setup` may make such things on the box); what ran before still runs"
    )


def _flush(path: str) -> None:
    """Everything of this file system to the disk, see syncfs(2): a flush for each file takes many times as long."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
