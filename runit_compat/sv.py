"""``sv``: runit's words and answers, for services of a runsv and for our own programs alike.

A command is a string of letters that is sent to each service in turn. Where it is to be waited for, all of them are
looked at again and again until they are as the letters ask, or the time is over.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bootstrap.errors import BootstrapError
from runit_compat.supervise import GoneError, TroubleError
from runit_compat.sv_command import Command, UsageError, parse_command
from runit_compat.sv_words import asks_for_check, describe, has_taken_effect, needs_no_letter

if TYPE_CHECKING:
    from collections.abc import Callable

    from runit_compat.sv_words import Seen

    Found = list[tuple[str, "Service"]]  # services, each with the label that it answers under

_MOST_FAILURES = 99
_POLL_S = 0.05
_CHECK_S = 0.42  # between two runs of a check script, as the binary has it


class Service(Protocol):
    """What sv controls. All but the last raise TroubleError, and GoneError where nobody supervises it."""

    def look(self) -> Seen:
        """How it is now."""

    def look_at_log(self) -> Seen | None:
        """How its logger is, if it has one."""

    def send(self, letters: str) -> None:
        """Ask for these, one after another, without waiting for any of them."""

    def is_available(self) -> bool:
        """What its check says."""


@dataclass(slots=True)
class _Asked:
    label: str
    service: Service
    checked_s: float = -_CHECK_S  # when its check was asked last, and has said no


def main(find: Callable[[str], Found], words: list[str], name: str, deliver: Callable[[], None]) -> int:
    """Run one command and answer with sv's exit code.

    ``name`` is what sv was called as; ``find`` maps a word to services, each with its label, and raises TroubleError;
    ``deliver`` is called once letters were sent to all of them.
    """
    try:
        command = parse_command(words, name, os.environ)
    except UsageError as error:
        sys.stderr.write(str(error))
        return 2 if name != "sv" else 100
    try:
        return _Sv(find, command, deliver).run()
    except BootstrapError as error:
        sys.stderr.write(f"fatal: {error}\n")
        return 151 if command.lsb else 100


class _Sv:
    def __init__(self, find: Callable[[str], Found], command: Command, deliver: Callable[[], None]) -> None:
        self._find = find
        self._deliver = deliver
        self._command = command
        self._failures = 0
        self._status = 0  # as an init script answers

    def run(self) -> int:
        begun = time.monotonic()
        asked = [one for word in self._command.services for one in self._begin(word)]
        self._deliver()
        if self._command.waits:
            self._wait(asked, begun)
        if self._command.lsb and self._command.kind == "status":
            return self._status or min(self._failures, _MOST_FAILURES)
        return min(self._failures, _MOST_FAILURES)

    def _begin(self, word: str) -> list[_Asked]:
        try:
            found = [_Asked(label, service) for label, service in self._find(word)]
        except TroubleError as error:
            self._tell(word, error)
            return []
        return [one for one in found if self._do(one)]

    def _do(self, one: _Asked) -> bool:
        """Whether there is something to wait for."""
        try:
            match self._command.kind:
                case "status":
                    self._show(one)
                case "control":
                    self._send(one, self._command.letters)
                case _:
                    pass
        except TroubleError as error:
            self._tell(one.label, error)
            return False
        return True

    def _show(self, one: _Asked) -> None:
        seen = one.service.look()
        line = describe(seen, one.label)
        try:
            log = one.service.look_at_log()
        except TroubleError as error:
            sys.stdout.write(f"{line}; ")
            self._tell(f"{one.label}/log", error)
            if isinstance(error, GoneError):
                return
            line, log = "", seen  # sv goes on with what it has read last
        if log is not None:
            line += ("; " if line else "") + describe(log, "log")
        _print(line)
        self._status = 0 if (log or seen).pid else 3

    def _send(self, one: _Asked, letters: str) -> None:
        if not needs_no_letter(letters, one.service.look()):
            one.service.send(letters)

    def _wait(self, asked: list[_Asked], begun: float) -> None:
        while asked:
            waited_s = time.monotonic() - begun
            asked = [one for one in asked if not self._is_settled(one, waited_s)]
            if asked:
                time.sleep(_POLL_S)

    def _is_settled(self, one: _Asked, waited_s: float) -> bool:
        letters = self._command.letters
        try:
            seen = one.service.look()
        except TroubleError as error:
            self._tell(one.label, error)
            return True
        is_available = not asks_for_check(letters, seen) or self._check(one, waited_s)
        if has_taken_effect(letters, seen, is_available=is_available):
            _print(f"ok: {describe(seen, one.label)}")
            return True
        if waited_s <= self._command.wait_s:
            return False
        self._give_up(one, seen)
        return True

    def _check(self, one: _Asked, waited_s: float) -> bool:
        if waited_s < one.checked_s + _CHECK_S:
            return False
        one.checked_s = waited_s
        return one.service.is_available()

    def _give_up(self, one: _Asked, seen: Seen) -> None:
        self._failures += 1
        _print(f"{'kill' if self._command.kills else 'timeout'}: {describe(seen, one.label)}")
        if self._command.kills:
            try:
                self._send(one, "k")
            except TroubleError as error:
                self._tell(one.label, error)

    def _tell(self, label: str, error: TroubleError) -> None:
        if isinstance(error, GoneError) and self._command.letters.startswith("x"):
            _print(f"ok: {label}: {error}")
            return
        self._failures += 1
        self._status = 4 if error.kind == "warning" else self._status
        _print(f"{error.kind}: {label}: {error}")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
