"""What chpst is asked to change → this very process, changed, and become another program.

The order is the binary's: session, environment directory, root, directory, nice value, ``$UID`` and ``$GID``, user,
lock, descriptors, limits. The program is looked for in the ``PATH`` that chpst was given, not in the changed one.
"""

from __future__ import annotations

import errno
import os

from runit_compat.chpst_options import MOST_GROUPS, parse_ids
from runit_compat.environment_directory import read_environment_directory
from runit_compat.error_words import describe_errno
from runit_compat.trouble import Trouble, telling

TYPE_CHECKING = False  # as typing has it, which takes 7 ms to import
if TYPE_CHECKING:
    from typing import NoReturn

    from runit_compat.chpst_options import Change

_STANDARD_PATH = b"/bin:/usr/bin"
_STREAMS = (b"stdin", b"stdout", b"stderr")
_LIMITS = ("DATA", "STACK", "MEMLOCK", "AS", "NOFILE", "NPROC", "FSIZE", "CORE", "RSS", "CPU")  # the binary's order
_LOCK_FLAGS = os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_CREAT
_RESERVE = 1024 * 1024  # bytes
_OVERHEAD = 64  # bytes that Python and the allocator add to each string
_LOOKED_ON_AFTER = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR)


def become(change: Change, environment: dict[bytes, bytes]) -> NoReturn:
    """Change this process and run the program in it; raises Trouble."""
    _import_early(change)
    path = environment.get(b"PATH", _STANDARD_PATH)
    _write_session(change)
    _read_environment(change, environment)
    _write_place(change)
    _write_nice(change)
    _write_user_variables(change, environment)
    _write_user(change)
    _take_lock(change)
    _close_streams(change)
    _write_limits(change, environment)
    _execute(change, environment, path)


def _import_early(change: Change) -> None:
    """Behind another root, another user or a limit on open files, these could not be read any more."""
    if change.user is not None or change.environment_user is not None:
        import grp  # noqa: F401, PLC0415 - each takes time at every start, and few changes need them
        import pwd  # noqa: F401, PLC0415 - likewise
    if change.lock is not None:
        import fcntl  # noqa: F401, PLC0415 - likewise
    if change.limits:
        import resource  # noqa: F401, PLC0415 - likewise


def _write_session(change: Change) -> None:
    if not change.new_session:
        return
    try:
        os.setsid()
    except OSError:
        return  # it leads a group already, and the binary does not mind


def _read_environment(change: Change, environment: dict[bytes, bytes]) -> None:
    if change.environment_directory is None:
        return
    entries = read_environment_directory(
        change.environment_directory, skips_directories=change.skips_directories, is_verbose=change.is_verbose
    )
    for entry in entries:
        # a file's name may hold a "=" itself: then only what is before it is the variable's
        name, equals, value = entry.partition(b"=")
        environment.pop(name, None)
        if equals:
            environment[name] = value


def _write_place(change: Change) -> None:
    if change.root is not None:
        with telling(b"unable to change directory", change.root):
            os.chdir(change.root)
        with telling(b"unable to change root directory"):
            os.chroot(b".")
    if change.directory is not None:
        with telling(b"unable to change directory", change.directory):
            os.chdir(change.directory)


def _write_nice(change: Change) -> None:
    if change.nice:
        with telling(b"unable to set nice level"):
            os.nice(change.nice)


def _write_user_variables(change: Change, environment: dict[bytes, bytes]) -> None:
    if change.environment_user is not None:
        uid, gids = _read_ids(change.environment_user, is_alone=change.is_alone)
        environment |= {b"GID": b"%d" % gids[0], b"UID": b"%d" % uid}


def _write_user(change: Change) -> None:
    if change.user is None:
        return
    uid, gids = _read_ids(change.user, is_alone=change.is_alone)
    with telling(b"unable to setgroups"):
        os.setgroups(gids)
    with telling(b"unable to setgid"):
        os.setgid(gids[0])
    with telling(b"unable to setuid"):
        os.setuid(uid)


def _read_ids(user: bytes, *, is_alone: bool) -> tuple[int, list[int]]:
    """uid and gids of ``user``, ``user:group…`` or ``:uid:gid…``; raises Trouble."""
    if is_alone:
        return _read_names(user, [], Trouble(b"unknown account", user), b"unable to get password file entry")
    if user.startswith(b":"):
        ids = parse_ids(user[1:])
        if ids is None:
            raise Trouble(b"invalid uid/gids", user[1:])
        return ids
    name, *groups = user.split(b":")
    unknown = Trouble(b"unknown user/group", user)
    return _read_names(name, groups[:MOST_GROUPS], unknown, b"unable to get password/group file entry")


def _read_names(user: bytes, groups: list[bytes], unknown: Trouble, unread: bytes) -> tuple[int, list[int]]:
    import grp  # noqa: PLC0415 - see _import_early
    import pwd  # noqa: PLC0415 - likewise

    database = b"/etc/passwd"
    try:
        account = pwd.getpwnam(os.fsdecode(user))
        database = b"/etc/group"
        gids = [grp.getgrnam(os.fsdecode(group)).gr_gid for group in groups]
    except KeyError:  # not found, or not to be read: Python tells them apart no more
        with telling(unread):
            os.close(os.open(database, os.O_RDONLY))
        raise unknown from None
    return account.pw_uid, gids or [account.pw_gid]


def _take_lock(change: Change) -> None:
    if change.lock is None:
        return
    import fcntl  # noqa: PLC0415 - see _import_early

    with telling(b"unable to open lock", change.lock):
        descriptor = os.open(change.lock, _LOCK_FLAGS, 0o600)
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - os takes it by position only
    with telling(b"unable to lock", change.lock):
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if change.waits else fcntl.LOCK_NB))


def _close_streams(change: Change) -> None:
    for number in sorted(change.closed):
        with telling(b"unable to close " + _STREAMS[number]):
            os.close(number)


def _write_limits(change: Change, environment: dict[bytes, bytes]) -> None:
    if not change.limits:
        return
    import resource  # noqa: PLC0415 - see _import_early

    _reserve_memory(change, environment)
    for name in _LIMITS:
        limit = change.limits.get(name)
        if limit is None:
            continue
        which = getattr(resource, f"RLIMIT_{name}")
        with telling(b"unable to getrlimit()"):
            _, most = resource.getrlimit(which)
        is_within = limit >= 0 and (most == resource.RLIM_INFINITY or limit <= most)
        try:
            with telling(b"unable to setrlimit()"):
                resource.setrlimit(which, (limit if is_within else most, most))
        except ValueError:  # Python's for EPERM
            raise Trouble(b"unable to setrlimit()", describe_errno(errno.EPERM)) from None


def _reserve_memory(change: Change, environment: dict[bytes, bytes]) -> None:
    """Exec copies words and environment, and behind a limit on memory there is no more than what the allocator keeps.

    The C library gives a first block of this size back, and learns from it to keep a second one.
    """
    strings = [*change.words, *environment, *environment.values()]
    size = _RESERVE + 4 * sum(len(string) + _OVERHEAD for string in strings)
    for _ in range(2):
        bytes(size)


def _execute(change: Change, environment: dict[bytes, bytes], path: bytes) -> NoReturn:
    """As execvp(3) does, but for the errors after which the binary looks on."""
    environment.pop(b"", None)  # Python passes no empty name on
    program, *arguments = change.words
    shown = program if change.first_word is None else change.first_word
    words = [shown or program or b".", *arguments]  # Python passes no empty 0th word on either
    places = [b""] if b"/" in program else [(directory or b".") + b"/" for directory in path.split(b":")]
    cause = errno.ENOENT
    for place in places:
        try:
            os.execve(place + program, words, environment)  # noqa: S606 - there is no shell, and that is the point
        except OSError as error:
            if error.errno != errno.ENOENT:
                cause = error.errno or 0
            if error.errno not in _LOOKED_ON_AFTER:
                break
    raise Trouble(b"unable to run", shown, describe_errno(cause))
