"""supervisord's own end: a bare SIGTERM, a reboot, ``shutdown``. The stop ladder, wave by wave, from inside.

Nobody else may be there to run it (the ``up`` that started the programs is long gone), so supervisord does: the stop
scripts of the last wave side by side, then its signals, then KILL for whatever its programs have left; then the wave
before it. ``step`` is called in every turn of supervisord's main loop and never waits.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from bootstrap.launcher import MARK
from bootstrap.world import pipes, processes
from bootstrap.world.ladder import read_ladders

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.box import Box
    from bootstrap.world.processes import Marked

LOOK_AGAIN_S = 0.02


class Shutdown:
    """One shutdown, from its first turn to its last."""

    def __init__(
        self,
        supervisord: Any,
        box: Box,
        take_status: Callable[[int], int | None],
        is_finishing: Callable[[str], bool],
    ) -> None:
        """``take_status`` hands over the wait status of a child that is no program, ``None`` while it lives.

        ``is_finishing`` tells whether a program has ended and its `finish` still runs.
        """
        self._supervisord = supervisord
        self._box = box
        self._take_status = take_status
        self._is_finishing = is_finishing
        self._wave: Wave | None = None
        self._rest: _Leftovers | None = None
        self.is_over = False

    def step(self) -> None:
        """Do whatever can be done now."""
        while not self.is_over:
            if self._wave is None:
                groups = _last_wave(self._supervisord)
                if not groups:
                    self._end_rest()
                    return
                self._wave = Wave(groups, self._box, self._take_status, self._is_finishing, then="x")
            if not self._wave.step():
                return
            self._supervisord.stop_groups = [g for g in self._supervisord.stop_groups if g not in self._wave]
            self._wave = None

    def _end_rest(self) -> None:
        """What belongs to no program that we know of, or hides it, goes last."""
        if self._rest is None:
            self._rest = _Leftovers(lambda _: True, self._box, grace_s=0.0)
        self.is_over = self._rest.are_gone()


class Wave:
    """The groups that stop together; each holds one program. ``step`` until it says that all of it is gone."""

    def __init__(
        self,
        groups: list[Any],
        box: Box,
        take_status: Callable[[int], int | None],
        is_finishing: Callable[[str], bool],
        *,
        then: str,
    ) -> None:
        """``then`` says what the stop is for: "d" down, "x" the end of everything, nothing for a restart."""
        self._groups = {group.config.name: group for group in groups}
        self._box = box
        self._take_status = take_status
        self._is_finishing = is_finishing
        running = [
            (name, f"{name}-{process.config.name}", process.pid)
            for name, group in self._groups.items()
            for process in group.processes.values()
        ]
        self._ladders = read_ladders(box, {name: store_name for name, store_name, _ in running})
        self._pids = {name: pid for name, _, pid in running if pid}
        self._began = time.monotonic()
        self._scripts = {name: self._start_script(name, self._ladders[name].script) for name in self._pids}
        self._then = then
        self._last_scripts: dict[str, int] = {}  # those that follow the signal
        self._spared: set[str] = set()  # whose script has stood for the signal
        self._signalled: dict[str, float] = {}
        self._leftovers: _Leftovers | None = None

    def __contains__(self, group: object) -> bool:
        return any(group is mine for mine in self._groups.values())  # supervisord's groups are equal by priority

    @property
    def runs_scripts(self) -> bool:
        """Whether a stop script is still to end before its program gets the signal."""
        return len(self._signalled) < len(self._groups)

    @property
    def is_clearing(self) -> bool:
        """Whether the main processes have ended and what they have left is being ended."""
        return self._leftovers is not None

    def has_signalled(self, name: str) -> bool:
        """Whether a program has got its stop signal and has not ended yet."""
        is_done = name in self._signalled and name not in self._spared
        return is_done and bool(self._groups[name].get_unstopped_processes())

    def ask_again(self, then: str) -> None:
        """Somebody asks once more: the signal once more, and whatever follows it this time."""
        self._then = then or self._then
        for name in self._signalled:
            if name in self._pids and self._groups[name].get_unstopped_processes():
                processes.send_to(self._pids[name], self._ladders[name].signal, whole_group=False)
                self._follow(name, then)

    def step(self) -> bool:
        """Go on; whether the whole wave is gone."""
        for name, group in self._groups.items():
            if name not in self._signalled and self._script_has_ended(name):
                self._signalled[name] = time.monotonic()
                group.stop_all()
                self._signal_if_left_to_us(name)
                self._follow(name, self._then)
            elif name in self._signalled:
                self._kill_if_late(name)
        if any(group.get_unstopped_processes() for group in self._groups.values()):
            return False
        if any(self._is_busy(name) and not self._is_late(name) for name in self._groups):
            return False
        if self._leftovers is None:
            longest = max((ladder.grace_s for ladder in self._ladders.values()), default=0.0)
            self._leftovers = _Leftovers(lambda marked: marked.program in self._groups, self._box, grace_s=longest)
        return self._leftovers.are_gone()

    def _is_busy(self, name: str) -> bool:
        script = self._last_scripts.get(name)
        return self._is_finishing(name) or (script is not None and self._take_status(script) is None)

    def _follow(self, name: str, then: str) -> None:
        """What runsv does after the signal of a stop: CONT for what is paused, and ``control/d`` or ``control/x``."""
        if not then or name not in self._pids:
            return
        processes.send_to(self._pids[name], "CONT", whole_group=False)
        script = self._start_script(name, self._ladders[name].control(then))
        if script is not None:
            self._last_scripts[name] = script

    def _start_script(self, name: str, script: str | None) -> int | None:
        if script is None:
            return None
        try:
            return spawn_script(["/bin/sh", script], self._box.program_log(name))
        except OSError:
            return None  # then its signal comes at once; nothing here may hold up the end

    def _script_has_ended(self, name: str) -> bool:
        pid = self._scripts.get(name)
        status = None if pid is None else self._take_status(pid)
        if status == 0 and self._ladders[name].instead:
            self._spared.add(name)
        if pid is None or status is not None:
            return self._is_drained(name)
        if time.monotonic() - self._began < self._ladders[name].grace_s:
            return False
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        return True

    def _is_drained(self, name: str) -> bool:
        """The last words of a program that has ended are for its logger to read."""
        pipe = self._ladders[name].pipe
        is_late = time.monotonic() - self._began > self._ladders[name].grace_s
        return pipe is None or is_late or pipes.is_drained(pipe)

    def _signal_if_left_to_us(self, name: str) -> None:
        ladder = self._ladders[name]
        if ladder.instead and name in self._pids and name not in self._spared:
            processes.send_to(self._pids[name], ladder.signal, whole_group=ladder.whole_group)

    def _is_late(self, name: str) -> bool:
        return time.monotonic() - self._signalled[name] > self._ladders[name].grace_s

    def _kill_if_late(self, name: str) -> None:
        """supervisord counts graces in whole seconds; so we end them ourselves."""
        if self._is_late(name) and name in self._pids and self._groups[name].get_unstopped_processes():
            with contextlib.suppress(OSError):
                os.killpg(self._pids[name], signal.SIGKILL)


def spawn_script(words: list[str], log: str) -> int:
    """Start a script of a program, its output in the program's log; the answer is its pid. Raises OSError.

    On a disk that takes no log any more it is run all the same.
    """
    try:
        return _spawn(words, log)
    except OSError:
        return _spawn(words, os.devnull)


def _spawn(words: list[str], log: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe is not waited for
    return os.posix_spawn(
        words[0],
        words,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, flags, 0o640),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setpgroup=0,
        setsigmask=[],
        setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
    )


class _Leftovers:
    """What the main processes have left behind: TERM, what is left of the grace, KILL."""

    def __init__(self, belongs: Callable[[Marked], bool], box: Box, *, grace_s: float) -> None:
        self._belongs = belongs
        self._box = box
        self._kill_at = time.monotonic() + grace_s
        self._give_up_at = self._kill_at + processes.KILL_WAIT_S
        self._told: set[int] = set()

    def are_gone(self) -> bool:
        """Whether nothing is left; asks or forces what is."""
        found = [marked for marked in self._read() if self._belongs(marked)]
        now = time.monotonic()
        if not found or now > self._give_up_at:
            return True
        if now >= self._kill_at:
            processes.kill(found)
        else:
            new = [marked for marked in found if marked.pid not in self._told]
            processes.kill(new, signal.SIGTERM)
            self._told.update(marked.pid for marked in new)
        return False

    def _read(self) -> list[Marked]:
        me, token = os.getpid(), os.environ.get(MARK, "").partition(":")[0]
        return [p for p in processes.read_marked(self._box) if p.token == token or me in {p.parent, p.session}]


def _last_wave(supervisord: Any) -> list[Any]:
    """The groups with the highest priority: those that nothing still running needs."""
    groups = supervisord.stop_groups or []
    highest = max((group.config.priority for group in groups), default=0)
    return [group for group in groups if group.config.priority == highest]
