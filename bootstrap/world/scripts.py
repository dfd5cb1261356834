"""What runs beside the programs: the set-up of services, and the directories that they find."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, BinaryIO

from bootstrap.errors import Unavailable
from bootstrap.health import NO_COMMAND
from bootstrap.launcher import MARK
from bootstrap.world import clock, disk, logs, masking, setups_record
from bootstrap.world.facts import read_facts
from bootstrap.world.readiness import TAIL_LINES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bootstrap.box import Box
    from bootstrap.rendering import Unit

INTERRUPTED_S = 5.0  # for a set-up that is interrupted


def prepare_directories(box: Box, units: Sequence[Unit]) -> None:
    """Make each service's data directory, its own user's."""
    facts = read_facts(box, [unit.store_name for unit in units])
    for unit in units:
        path = box.data(unit.service)
        disk.make_directory(path, 0o700)
        uid, gid = facts[unit.store_name]["user"] or (os.geteuid(), os.getegid())
        if os.lstat(path).st_uid != uid:
            os.chown(path, uid, gid, follow_symlinks=False)


def run_setups(
    box: Box, units: Sequence[Unit], mark: str, deadline: float, say: Callable[[str, str], None]
) -> dict[str, str]:
    """Run the set-up of each unit's service unless it has been run for this very rendering.

    The services' set-ups run side by side, the lines of one in order. The answer maps services to failures.
    """
    done = _read_done(box)
    due = [unit for unit in units if unit.setup and done.get(unit.service) != unit.fingerprint]
    if not due:
        return {}
    prepare_directories(box, due)
    running = {unit.service: (unit, _start(box, unit, mark)) for unit in due}
    failures: dict[str, str] = {}
    try:
        for service, (unit, child) in running.items():
            say(unit.service, "setting up")
            failure = _wait(box, unit, child, deadline)
            if failure is None:
                done[service] = unit.fingerprint
            else:
                failures[service] = failure
    except BaseException:
        _end_together([child for _, child in running.values()])  # nobody would wait for them any more
        raise
    finally:
        _write_done(box, done)
        setups_record.write_failed(box, running, failures)
    return failures


def _end_together(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """TERM, some time to put things in order, KILL: for each and whatever it has started in its session."""
    left = [child for child in children if child.poll() is None]
    for child in left:
        os.killpg(child.pid, signal.SIGTERM)
    deadline = clock.now() + INTERRUPTED_S
    for child in left:
        wait_until_ended(child, deadline)


def is_set_up(box: Box, unit: Unit) -> bool:
    """Whether its service's set-up has been run for this very rendering, if there is one."""
    return not unit.setup or _read_done(box).get(unit.service) == unit.fingerprint


def start_script(words: Sequence[str], log_path: str, mark: str, *, append: bool) -> subprocess.Popen[bytes]:
    """Start a script of ours in a session of its own, its output in a log."""
    with _open_log(log_path, append=append) as log:
        return subprocess.Popen(
            ["/bin/sh", *words],  # the run directory may be mounted noexec
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={MARK: mark},
            start_new_session=True,
        )


def _open_log(path: str, *, append: bool) -> BinaryIO:
    """What stops a program is run on a disk that takes no log any more, too; a set-up is not."""
    try:
        return open(path, "ab" if append else "wb", opener=_open_at_once)
    except OSError as error:
        if not append:
            raise disk.refused("write", path, error) from error
        return open(os.devnull, "ab")


def _open_at_once(path: str, flags: int) -> int:
    """A pipe in the place of a log would be waited for until somebody reads it; so it is an error."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)


def wait_until_ended(child: subprocess.Popen[bytes], deadline: float, *, kill: bool = True) -> int | None:
    """The script's return code, negative for a signal; ``None`` if it took too long, and with ``kill`` was ended."""
    try:
        return child.wait(max(0.0, deadline - clock.now()))
    except subprocess.TimeoutExpired:
        if kill:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        return None


def describe_code(code: int) -> str:
    """How a script ended, for people."""
    if code in NO_COMMAND:
        return f"{NO_COMMAND[code]}: exit code {code}"
    return f"exit code {code}" if code > 0 else f"signal {-code}"


def _start(box: Box, unit: Unit, mark: str) -> subprocess.Popen[bytes]:
    line = " && ".join(f"{{ {command}\n}}" for command in unit.setup)
    words = [f"{box.store}/{unit.store_name}/run", "/bin/sh", "-c", line]
    return start_script(words, _log(box, unit), mark, append=False)


def _wait(box: Box, unit: Unit, child: subprocess.Popen[bytes], deadline: float) -> str | None:
    code = wait_until_ended(child, deadline)
    if code == 0:
        return None
    ended = "it did not end in time and was killed" if code is None else describe_code(code)
    path = _log(box, unit)
    tail = masking.quote_lines(box, unit, logs.tail(path, TAIL_LINES))
    return f'cannot set up "{unit.service}": {ended} ({"; ".join(unit.setup)})\n  where: {path}{tail}'


def _log(box: Box, unit: Unit) -> str:
    return f"{box.log}/{unit.service}.setup.log"


def _read_done(box: Box) -> dict[str, str]:
    return disk.read_mapping(f"{box.run}/setups.json")


def _write_done(box: Box, done: dict[str, str]) -> None:
    """Where the disk refuses, set-ups are run once more than needed; they are made for that."""
    with contextlib.suppress(Unavailable):
        disk.write_for_this_boot(f"{box.run}/setups.json", json.dumps(done).encode())
