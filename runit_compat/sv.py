"""``sv`` over the programs of a box: the words are runit's, what happens goes through our own waves and ladder.

A program that `sv down` has stopped stays stopped until `sv up`, `bootstrap start` or `bootstrap up`. What takes time
is done by a process in the background, as runsv would; ``sv`` looks on, and waits only where it was asked to.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING

from bootstrap import control
from bootstrap.errors import BootstrapError
from bootstrap.status import judge_status
from bootstrap.world import by_hand, clock, processes, readiness, store, supervisord
from runit_compat.sv_command import Command, UsageError, parse_command
from runit_compat.sv_words import Seen, describe, describe_whole, has_taken_effect

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.box import Box
    from bootstrap.observed import ObservedProgram
    from bootstrap.rendering import Generation

_SIGNALS = {
    "p": "STOP", "c": "CONT", "h": "HUP", "a": "ALRM", "i": "INT", "q": "QUIT", "1": "USR1", "2": "USR2", "k": "KILL"
}  # fmt: skip
_MOST_FAILURES = 99
_POLL_S = 0.05
_BACKGROUND_S = 600.0
_HEEDED_S = 1.0  # how long we look whether what was asked for has begun
_NO_DIRECTORY = "unable to change to service directory: file does not exist"
_NOT_RUNNING = "runsv not running"


def main(box: Box, words: list[str], name: str) -> int:
    """Run one command; the answer is sv's exit code."""
    try:
        command = parse_command(words, name, os.environ)
    except UsageError as error:
        sys.stderr.write(str(error))
        return 100 if name == "sv" else 2
    try:
        return _Sv(box, command).run()
    except BootstrapError as error:
        sys.stderr.write(f"fatal: {error}\n")
        return 151 if command.lsb else 100


class _Service:
    """One program that was asked for: how it was called, and how it was then."""

    def __init__(self, label: str, program: str, before: Seen) -> None:
        self.label = label
        self.program = program
        self.before = before


class _Sv:
    def __init__(self, box: Box, command: Command) -> None:
        self._box = box
        self._command = command
        self._failures = 0

    def run(self) -> int:
        acts = {"status": self._show, "control": self._send, "check": _let}
        services = []
        view = _View(self._box)
        for word in self._command.services:
            for service in self._find(view, word):
                acts[self._command.kind](service)
                services.append(service)
        if self._command.waits:
            self._wait(services)
        if self._command.lsb:
            return self._lsb_code(services)
        return min(self._failures, _MOST_FAILURES)

    def _lsb_code(self, services: list[_Service]) -> int:
        if self._command.kind != "status":
            return min(self._failures, 1)
        if not services:
            return 4
        return 0 if services[0].before.pid else 3

    def _find(self, view: _View, word: str) -> list[_Service]:
        """What a word names; what is nobody's is said, and counted."""
        programs = view.programs_of(word)
        if not programs:
            self._fail(word, _NO_DIRECTORY)
        found = []
        for program in programs:
            label = word if len(programs) == 1 else program
            seen = view.see(program)
            if seen is None:
                self._fail(label, _NOT_RUNNING)
            else:
                found.append(_Service(label, program, seen))
        return found

    def _show(self, service: _Service) -> None:
        _print(describe_whole(service.before, service.label))

    def _send(self, service: _Service) -> None:
        letters = self._command.letters
        if letters == "o":
            self._fail(service.label, "unable to run once: bootstrap starts again what exits")
        elif letters in {"d", "x"}:
            if service.before.pid or service.before.want_up:
                self._do(service, lambda: control.stop(self._box, (service.program,), _nothing))
        elif "u" in letters and not service.before.pid:
            self._do(service, lambda: control.start(self._box, (service.program,), _nothing, _BACKGROUND_S))
        elif "t" in letters:
            if service.before.pid:
                self._do(service, lambda: control.restart(self._box, (service.program,), _nothing, _BACKGROUND_S))
        elif service.before.pid and letters in _SIGNALS:
            _signal(self._box, service, _SIGNALS[letters])

    def _do(self, service: _Service, act: Callable[[], object]) -> None:
        """In the background; returns when it has begun, so that who looks next sees it."""
        _leave_behind(act)
        deadline = clock.now() + _HEEDED_S
        while _View(self._box).see(service.program) == service.before and clock.now() < deadline:
            clock.sleep(_POLL_S / 5)

    def _wait(self, services: list[_Service]) -> None:
        begun = clock.now()
        waiting = list(services)
        while waiting:
            view = _View(self._box)
            waited_s = clock.now() - begun
            still = []
            for service in waiting:
                seen = view.see(service.program, probe=True)
                if seen is None:
                    self._fail(service.label, _NOT_RUNNING)
                elif has_taken_effect(self._command.letters, seen, service.before):
                    _print(f"ok: {describe(seen, service.label)}")
                elif waited_s > self._command.wait_s:
                    self._give_up(service, seen)
                else:
                    still.append(service)
            waiting = still
            if waiting:
                clock.sleep(_POLL_S)

    def _give_up(self, service: _Service, seen: Seen) -> None:
        self._failures += 1
        _print(f"{'kill' if self._command.kills else 'timeout'}: {describe(seen, service.label)}")
        if self._command.kills and seen.pid:
            _signal(self._box, service, "KILL")

    def _fail(self, label: str, why: str) -> None:
        self._failures += 1
        _print(f"fail: {label}: {why}")


class _View:
    """The box at one moment."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._supervisor = supervisord.connect(box)
        self._observed = self._supervisor.observe() if self._supervisor else supervisord.NOTHING
        self._generation: Generation | None = store.read_current(box)
        self._known = {program.name: program for program in self._observed.programs}
        self._stopped = by_hand.read_stopped(box)

    def programs_of(self, word: str) -> list[str]:
        """A program by its name or as the last part of a path; a service by its name, all that are no loggers."""
        name = word.rstrip("/").rpartition("/")[2]
        units = self._generation.units if self._generation else ()
        if name in self._known or name in {unit.name for unit in units}:
            return [name]
        return [unit.name for unit in units if unit.service == name and not unit.process.endswith("-log")]

    def see(self, name: str, *, probe: bool = False) -> Seen | None:
        """``None`` where no supervisor holds it; whether it is ready is looked at only with ``probe``."""
        program = self._known.get(name)
        if self._supervisor is None or program is None:
            return None
        log = self._known.get(f"{name}-log")
        return self._see(program, None if log is None else self._see(log, None, probe=False), probe=probe)

    def _see(self, program: ObservedProgram, log: Seen | None, *, probe: bool) -> Seen:
        is_stopping = program.state == "stopping"
        return Seen(
            state="run" if program.pid else "down",
            pid=program.pid or 0,
            seconds=int(program.age_s if program.pid else self._down_for(program)),
            normally_up=not self._is_by_hand(program.name),
            paused=program.pid is not None and processes.is_paused(program.pid),
            want_up=program.pid is None and self._is_wanted(program),
            want_down=program.name in self._stopped and is_stopping,
            got_term=is_stopping,
            is_ready=not probe or self._is_ready(program),
            log=log,
        )

    def _is_wanted(self, program: ObservedProgram) -> bool:
        """Of one that is down: whether it is about to start, as while it is restarted."""
        is_left = program.name in self._stopped or self._is_by_hand(program.name)
        return program.state == "backoff" or (program.state == "stopped" and not is_left)

    def _down_for(self, program: ObservedProgram) -> float:
        return 0.0 if program.last_exit is None else max(0.0, time.time() - program.last_exit.at)

    def _is_by_hand(self, name: str) -> bool:
        return any(unit.by_hand for unit in self._generation.units if unit.name == name) if self._generation else False

    def _is_ready(self, program: ObservedProgram) -> bool:
        if program.pid is None or program.state not in {"starting", "running"}:
            return False
        ready = readiness.read_ready(self._box, self._generation, self._observed, processes.new_mark(self._box))
        status = judge_status(self._generation, self._observed, ready)
        return any(one.ready for one in status.programs if one.name == program.name)


def _let(_service: _Service) -> None:
    """`check` sends nothing."""


def _signal(box: Box, service: _Service, name: str) -> None:
    supervisor = supervisord.connect(box)
    if supervisor is None:
        return
    programs = [program for program in supervisor.observe([service.program]).programs if program.pid]
    supervisor.signal(programs, name)


def _leave_behind(act: Callable[[], object]) -> None:
    """Do it in a process that nobody waits for, with no terminal and no output."""
    sys.stdout.flush()
    if os.fork():
        return
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        with contextlib.suppress(BootstrapError):
            act()
    finally:
        os._exit(0)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _nothing(_program: str, _text: str) -> None:
    pass
