"""Commands that handle what strangers have made: as somebody without rights, in a group of their own, until a deadline.

As root they run as `bootstrap-fetch` where that account exists, else as `nobody`, in both cases with a group that
nothing else on the machine has. What they write lies below a directory that only root and this group may enter; so a
service that runs as `nobody` too can't reach it. Whoever is not root runs them himself.

Should we be killed, timeout(1) still ends them all at their deadline, and the next ``up`` at its beginning.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import signal
import subprocess
from typing import TYPE_CHECKING

from bootstrap.errors import ApplyFailed, DefinitionError
from bootstrap.frozen import dataclass
from bootstrap.launcher import MARK
from bootstrap.world import clock, processes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bootstrap.box import Box

ACCOUNT = "bootstrap-fetch"
GROUP = 61183  # of no account: systemd and Debian give it to nobody
MOST_BYTES = 256 * 1024**2  # of what a command prints: a million files are listed in less
_BLOCK = 65_536
_KIND = "apart"  # what their marks begin with


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """Whom such a command runs as."""

    uid: int
    gid: int
    name: str


class LateError(Exception):
    """The deadline has passed; the command and whatever it had started are gone."""


class TooMuchError(Exception):
    """It has printed more than anybody should keep in memory; it is gone too."""


def read_stranger() -> Stranger | None:
    """``None`` for whoever is not root: he has only himself."""
    if os.geteuid() != 0:
        return None
    for name in (ACCOUNT, "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid != 0:
                return Stranger(uid=entry.pw_uid, gid=GROUP, name=name)
    return Stranger(uid=GROUP, gid=GROUP, name=str(GROUP))


def run(words: Sequence[str], environ: Mapping[str, str], *, deadline: float) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end and return what it printed.

    Raises LateError, TooMuchError (beyond ``MOST_BYTES``), OSError if it can't be started.
    """
    child = subprocess.Popen(
        [*_limit(deadline - clock.now()), *_become(read_stranger()), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ,
        cwd="/",
        umask=0o022,
        start_new_session=True,
    )
    try:
        output, errors = _read_both(child, deadline)
        child.wait(max(0.0, deadline - clock.now()))
    except subprocess.TimeoutExpired:
        raise LateError from None
    finally:
        _end(child)
    return subprocess.CompletedProcess(words, child.returncode, output, errors)


def make_private(path: str, stranger: Stranger | None) -> None:
    """A directory that only we and the stranger may enter, and only we may write to."""
    os.mkdir(path, 0o700)
    if stranger is not None:
        os.chown(path, 0, stranger.gid)
        os.chmod(path, 0o710)  # noqa: S103 - the group is the stranger's alone


def make_strangers(path: str, stranger: Stranger | None) -> None:
    """A directory for the stranger to write to."""
    os.mkdir(path, 0o700)
    if stranger is not None:
        os.chown(path, stranger.uid, stranger.gid)


def check_way(path: str, stranger: Stranger | None) -> None:
    """Raise DefinitionError where a directory above ``path`` does not let the stranger, or any service, pass."""
    if stranger is None:
        return
    above = os.path.dirname(path)
    while above != "/":
        if not os.stat(above).st_mode & 0o001:
            raise DefinitionError(
                f'cannot keep code in "{path}": only its owner may enter {above}, and neither the fetching nor the '
                "services run as root\n"
                f"  way out: chmod o+x {above}, or name another place with --state DIR"
            )
        above = os.path.dirname(above)


def end_strays(box: Box) -> None:
    """End what a killed run has left; nobody else runs such commands while we hold the lock. Raises ApplyFailed."""
    stuck = processes.end_all(lambda: [one for one in processes.read_marked(box) if one.token == _KIND], grace_s=0.0)
    if stuck:
        raise ApplyFailed(processes.describe_stuck(one.words for one in stuck))


def mark(box: Box) -> dict[str, str]:
    """What ``end_strays`` knows them by, for the environment of a command."""
    return {MARK: f"{_KIND}:{box.state}"}


def _limit(seconds: float) -> list[str]:
    """One second more than we give it ourselves."""
    return ["/usr/bin/timeout", "--signal=KILL", f"{max(0.0, seconds) + 1:.3f}"]


def _become(stranger: Stranger | None) -> list[str]:
    options = ["--no-new-privs"]
    if stranger is not None:
        options += [f"--reuid={stranger.uid}", f"--regid={stranger.gid}", "--clear-groups", "--inh-caps=-all"]
    return ["/usr/bin/setpriv", *options]


def _read_both(child: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
    """What it prints, until it has closed both; a tree of a few kilobytes can have a list without end."""
    assert child.stdout is not None  # noqa: S101 - both are pipes; this tells the type checker
    assert child.stderr is not None  # noqa: S101 - likewise
    read = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    poll = select.poll()
    for pipe in read:
        poll.register(pipe, select.POLLIN)
    waiting = len(read)
    while waiting:
        ready = poll.poll(max(0.0, deadline - clock.now()) * 1000)
        if not ready or clock.now() > deadline:
            raise LateError
        for pipe, _ in ready:
            block = os.read(pipe, _BLOCK)
            read[pipe] += block
            if len(read[pipe]) > MOST_BYTES:
                raise TooMuchError
            if not block:
                poll.unregister(pipe)
                waiting -= 1
    output, errors = read.values()
    return bytes(output), bytes(errors)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the whole group of a command that has not been waited for: until then nobody else gets its number."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
