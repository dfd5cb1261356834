"""Our own programs, as ``sv`` sees and controls them.

Letters are heeded inside supervisord (``bootstrap.world.plugin.letters``), one program at a time and without any lock.
What has to be introduced or set up before it can start goes through `bootstrap start`, in the background; what requests
reach is stopped and started by the verbs too, which know of load balancers; so are several programs that need one
another, because the verbs know of waves; and so is all where our plug-in is not there.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from bootstrap.errors import BootstrapError, Unavailable
from bootstrap.rendering import waves_of
from bootstrap.traffic import parse_traffic
from bootstrap.world import by_hand, clock, store, supervisord
from runit_compat.supervise import GoneError, TroubleError
from runit_compat.sv_words import Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.box import Box
    from bootstrap.observed import Observed, ObservedProgram
    from bootstrap.rendering import Unit
    from bootstrap.world.supervisord import Supervisor
    from runit_compat.sv import Found

_SIGNALS = {
    "p": "STOP", "c": "CONT", "h": "HUP", "a": "ALRM", "i": "INT", "q": "QUIT", "1": "USR1", "2": "USR2", "k": "KILL"
}  # fmt: skip
_IN_WAVES = {"u", "d", "x", "t", "tc", "tcu"}
_BACKGROUND_S = 600.0
_HEEDED_S = 1.0  # how long we look whether what was asked for in the background has begun
_POLL_S = 0.01


class _Line:
    """One connection for all that is asked, made anew where a supervisor has gone and another one come."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._supervisor: Supervisor | None = None

    def observe(self, name: str) -> tuple[Supervisor, Observed, ObservedProgram]:
        """Raise GoneError where no supervisor holds this program, TroubleError where we may not ask."""
        for _ in range(2):
            supervisor = self._connect()
            try:
                observed = supervisor.observe([name])
            except Unavailable as error:
                if not isinstance(error.__cause__, ConnectionError):
                    raise
                self.close()
                continue
            program = next((one for one in observed.programs if one.name == name), None)
            if program is not None:
                return supervisor, observed, program
            break
        raise GoneError

    def close(self) -> None:
        if self._supervisor is not None:
            self._supervisor.close()
            self._supervisor = None

    def _connect(self) -> Supervisor:
        if self._supervisor is None:
            try:
                self._supervisor = supervisord.connect(self._box)
            except Unavailable as error:
                if isinstance(error.__cause__, OSError):
                    raise TroubleError("unable to open supervise/ok", error.__cause__, kind="warning") from error
                raise
        if self._supervisor is None:
            raise GoneError
        return self._supervisor


class Programs:
    """Those of one box, by the names that people have for them."""

    def __init__(self, box: Box, began: float) -> None:
        """``began`` is when sv was started, in seconds since 1970."""
        self.box = box
        self.began = began
        self._is_closed = os.path.isdir(box.run) and not os.access(box.run, os.X_OK)
        self.generation = None if self._is_closed else store.read_current(box)
        self.line = _Line(box)
        self._gathered: list[tuple[Program, str]] | None = None

    def gather(self) -> None:
        """From now on, keep what is to be stopped or started until ``deliver``: only then all of it is known."""
        self._gathered = []

    def deliver(self) -> None:
        """Stop and start what was gathered: who needs another stops before it, and starts after it."""
        gathered, self._gathered = self._gathered or [], None
        waves = waves_of(self.generation)
        if len({waves.get(program.name) for program, _ in gathered}) > 1:
            with contextlib.suppress(TroubleError):  # all were there a moment ago; whoever waits for them will say so
                gathered = self._deliver_in_waves(gathered)
        for program, letters in gathered:
            with contextlib.suppress(TroubleError):  # likewise, and no reason to leave out the others
                program.deliver(letters)

    def close(self) -> None:
        self.line.close()

    def find(self, name: str) -> Found:
        """What a name stands for: a program, or a service, all but its loggers; `NAME/log` for a logger.

        Raises TroubleError where we may not know.
        """
        if self._is_closed:
            raise TroubleError("unable to open supervise/ok", PermissionError(13, ""), kind="warning")
        units = self.generation.units if self.generation else ()
        log = "-log" if name.endswith("/log") else ""
        name = name.removesuffix("/log")
        if any(unit.name == f"{name}{log}" for unit in units):
            return [self._make(f"{name}{log}")]
        own = [unit.name for unit in units if unit.service == name and not unit.process.endswith("-log")]
        return [self._make(f"{program}{log}") for program in own if f"{program}{log}" in {unit.name for unit in units}]

    def find_below(self, path: str) -> Found:
        """What the folder of a service stands for."""
        below = os.path.relpath(os.path.realpath(path), os.path.realpath(self.box.services))
        return [] if below.startswith("..") or below == "." else self.find(below)

    def _make(self, name: str) -> tuple[str, Program]:
        return name, Program(self, name)

    def keep(self, program: Program, letters: str) -> bool:
        """Whether this is gathered."""
        if self._gathered is None or letters not in _IN_WAVES:
            return False
        self._gathered.append((program, letters))
        return True

    def leave_behind(self, names: tuple[str, ...], act: Callable[[], object]) -> None:
        """Do it in a process that nobody waits for; return when it has begun, so that who looks next sees it."""
        before = self._look_at(names)
        sys.stdout.flush()
        if not os.fork():
            _act_alone(act)
        deadline = clock.now() + _HEEDED_S
        while clock.now() < deadline and self._look_at(names) == before:
            clock.sleep(_POLL_S)

    def _deliver_in_waves(self, gathered: list[tuple[Program, str]]) -> list[tuple[Program, str]]:
        """As the verbs do it, in the background; the answer is what is left to be delivered."""
        from bootstrap import control  # noqa: PLC0415 - most commands are for one program

        letters = gathered[0][1]  # one command has the same for all
        ending = [one for one in gathered if letters in {"t", "tc"} and not one[0].look_for_restart()]
        names = tuple(program.name for program, _ in gathered if (program, letters) not in ending)
        if letters in {"d", "x"}:
            self.leave_behind(names, lambda: control.stop(self.box, names, _nothing))
        elif letters == "u":
            self.leave_behind(names, lambda: control.start(self.box, names, _nothing, _BACKGROUND_S))
        elif names:
            self.leave_behind(names, lambda: control.restart(self.box, names, _nothing, _BACKGROUND_S))
        return ending

    def _look_at(self, names: tuple[str, ...]) -> list[tuple[str, int | None]]:
        """Whether anything has happened to them is seen by it."""
        seen = [self.line.observe(name)[2] for name in names]
        return [(program.state, program.pid) for program in seen]


class Program:
    """One of them."""

    def __init__(self, programs: Programs, name: str) -> None:
        self._programs = programs
        self.name = name
        units = programs.generation.units if programs.generation else ()
        self._unit: Unit | None = next((unit for unit in units if unit.name == name), None)
        self._first_pid: int | None = None
        self._is_to_exit = False

    def look(self) -> Seen:
        seen = self._see(*self._observe(self.name))
        if self._is_to_exit and not seen.pid:
            raise GoneError  # what runsv would do now
        if self._first_pid is None:
            self._first_pid = seen.pid
        return replace(seen, is_new=seen.pid != self._first_pid if seen.pid else seen.is_new)

    def look_at_log(self) -> Seen | None:
        try:
            return self._see(*self._observe(f"{self.name}-log"))
        except GoneError:
            return None

    def send(self, letters: str) -> None:
        self._is_to_exit = "x" in letters
        self._programs.line.observe(self.name)
        with contextlib.suppress(OSError):
            self._remember(letters)
        if not self._programs.keep(self, letters):
            self.deliver(letters)

    def deliver(self, letters: str) -> None:
        """Have them heeded, now."""
        supervisor, _, program = self._programs.line.observe(self.name)
        is_start = bool({"u", "o"} & set(letters)) and not program.pid
        needs_more = self._is_reached(letters) or (is_start and not self._is_prepared(program))
        if needs_more or not supervisor.control(self.name, letters):
            self._send_plainly(supervisor, program, letters)

    def look_for_restart(self) -> bool:
        """Whether it would be started again once it has ended."""
        seen = self.look()
        return seen.pid > 0 and seen.want == "u"

    def is_available(self) -> bool:
        """What its readiness probe says now, if it has one that asks; of a `log` one, whether it has been ready."""
        from bootstrap.status import judge_status  # noqa: PLC0415 - most commands ask for no check
        from bootstrap.world import processes, readiness  # noqa: PLC0415 - likewise

        _, observed, program = self._programs.line.observe(self.name)
        kind = self._unit.ready["kind"] if self._unit else "Alive"
        if self._unit is None or kind == "Alive":  # for runsv too, what has no check is available
            return True
        mark = processes.own_mark(self._programs.box)
        if kind != "Log":
            return bool(readiness.look_once(self._programs.box, [(self._unit, program)], mark))
        ready = readiness.read_ready(self._programs.box, self._programs.generation, observed, mark)
        status = judge_status(self._programs.generation, observed, ready)
        return any(one.ready for one in status.programs if one.name == program.name)

    def _observe(self, name: str) -> tuple[ObservedProgram, bool]:
        """The program, and whether somebody has stopped it, or would have to start it."""
        program = self._programs.line.observe(name)[2]
        return program, name in by_hand.read_stopped(self._programs.box) or (
            program.pid is None and self._is_by_hand(name)
        )

    def _see(self, program: ObservedProgram, is_left: bool) -> Seen:  # noqa: FBT001 - used twice, right above
        state = "finish" if program.finishing else "run" if program.pid else "down"
        down_since = program.last_exit.at if program.last_exit else self._supervised_since()
        down_for = max(0.0, time.time() - down_since)
        wants_down = program.want == "d" or (program.want is None and is_left) or program.state == "failed"
        return Seen(
            state=state,
            pid=program.pid or 0,
            seconds=int(program.age_s if program.pid else down_for),
            normally_up=not self._is_by_hand(program.name),
            paused=program.paused,
            want="d" if wants_down else "u",
            got_term=program.got_term,
            is_new=int(down_since) >= int(self._programs.began),
        )

    def _supervised_since(self) -> float:
        try:
            return os.stat(self._programs.box.socket).st_mtime
        except OSError:
            return time.time()

    def _is_by_hand(self, name: str) -> bool:
        return (
            any(unit.by_hand for unit in self._programs.generation.units if unit.name == name)
            if self._programs.generation
            else False
        )

    def _remember(self, letters: str) -> None:
        """Across crashes and reboots."""
        wishes = [letter for letter in letters if letter in "udox"]
        if wishes and wishes[-1] == "u":
            by_hand.change_stopped(self._programs.box, wanted=[self.name])
        elif wishes:
            by_hand.change_stopped(self._programs.box, stopped=[self.name])

    def _is_reached(self, letters: str) -> bool:
        """Whether requests may reach it: then they are led away before it stops, and back when it is ready."""
        traffic = parse_traffic(self._programs.generation.traffic) if self._programs.generation else None
        return traffic is not None and traffic.serves([self.name]) and bool({"u", "d", "t", "x"} & set(letters))

    def _is_prepared(self, program: ObservedProgram) -> bool:
        """Whether it can be started as it stands in the supervisor."""
        from bootstrap.world import scripts  # noqa: PLC0415 - most commands start nothing

        if self._unit is None or program.fingerprint != self._unit.fingerprint:
            return False
        if scripts.is_set_up(self._programs.box, self._unit):
            scripts.prepare_directories(self._programs.box, [self._unit])
            return True
        return False

    def _send_plainly(self, supervisor: Supervisor, program: ObservedProgram, letters: str) -> None:
        """Without our plug-in; nothing then heeds `once`."""
        from bootstrap import control  # noqa: PLC0415 - the exception

        name = (self.name,)
        if letters == "o":
            raise TroubleError("unable to run once: bootstrap's plug-in for supervisord is off")
        if letters in {"d", "x"}:
            self._programs.leave_behind(name, lambda: control.stop(self._programs.box, name, _nothing))
        elif "u" in letters and not program.pid:
            self._programs.leave_behind(name, lambda: control.start(self._programs.box, name, _nothing, _BACKGROUND_S))
        elif "t" in letters and program.pid:
            self._programs.leave_behind(
                name, lambda: control.restart(self._programs.box, name, _nothing, _BACKGROUND_S)
            )
        elif program.pid and letters in _SIGNALS:
            supervisor.signal([program], _SIGNALS[letters])


def _act_alone(act: Callable[[], object]) -> None:
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        with contextlib.suppress(BootstrapError):
            act()
    finally:
        os._exit(0)


def _nothing(_program: str, _text: str) -> None:
    pass
