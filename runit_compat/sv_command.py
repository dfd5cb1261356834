"""The words after ``sv`` → what is asked of which services; see sv(8) for the words, and its binary for the letters.

A command is a string of letters, each of which is sent to a service in its turn and waited for in its turn: ``tcu``
restarts, because TERM ends the service, CONT lets a paused one end, and up starts it if it was down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

WAIT_S = 7
USAGE = "usage: {name} [-v] [-w sec] command service ...\n\n"
USAGE_LSB = "usage: {name} [-w sec] command\n\n"
VERSION = "$Id: 900314260c6d52c986c5357673bea2f3bd3f4698 $\n"  # what runit 2.1.2 says

# words that are more than their first letter: the letters, and whether KILL follows in the end
_WORDS = {
    "try-restart": ("tc", False),
    "shutdown": ("x", False),
    "start": ("u", False),
    "stop": ("d", False),
    "restart": ("tcu", False),
    "reload": ("h", False),
    "force-reload": ("tc", True),
    "force-restart": ("tcu", True),
    "force-shutdown": ("x", True),
    "force-stop": ("d", True),
}
_CAPITALS = {"X": ("x", True), "E": ("x", True), "D": ("d", True), "T": ("tc", True)}
_MOST_DIGITS = 18  # of seconds: more than anybody waits, and still a number to everybody
_LETTERS = "udophaitcqk12"  # sent as they are


class UsageError(Exception):
    """The words make no command; the text is what goes to standard error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is asked; ``kind`` says whether anything is sent at all."""

    kind: str  # "status", "check" or "control"
    services: tuple[str, ...]
    letters: str = ""
    waits: bool = False
    kills: bool = False  # on timeout
    wait_s: int = WAIT_S
    lsb: bool = False  # called as an init script: exit codes are those of LSB


def parse_command(words: list[str], name: str, environ: Mapping[str, str]) -> Command:
    """Parse what follows the name of the program. Raises UsageError."""
    lsb = name != "sv"
    usage = UsageError((USAGE_LSB if lsb else USAGE).format(name=name))
    rest, wait_s, verbose = _parse_options(words, name, usage, _number(environ.get("SVWAIT", ""), WAIT_S))
    if not rest:
        raise usage
    action, services = rest[0], tuple(rest[1:])
    if lsb:
        services = (name,)
    if not services:
        raise usage
    kind, letters, waits, kills = _meaning(action, usage, lsb=lsb)
    return Command(
        kind=kind,
        services=services,
        letters=letters,
        waits=waits or (verbose and kind == "control"),
        kills=kills,
        wait_s=wait_s,
        lsb=lsb,
    )


def _parse_options(words: list[str], name: str, usage: UsageError, wait_s: int) -> tuple[list[str], int, bool]:
    """What is left of the words, how long to wait, and whether to wait at all."""
    verbose = False
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        option = rest.pop(0)
        if option == "--":
            break
        for index, letter in enumerate(option[1:], start=1):
            verbose = verbose or letter in "wv"
            if letter == "w":
                value = option[index + 1 :] or (rest.pop(0) if rest else None)
                if value is None:
                    raise UsageError(f"{name}: option requires an argument -- w\n{usage}")
                wait_s = _number(value, wait_s)
                break
            if letter == "V":
                raise UsageError(f"{VERSION}{usage}")
            if letter != "v":
                raise UsageError(f"{name}: illegal option -- {letter}\n{usage}")
    return rest, wait_s, verbose


def _meaning(action: str, usage: UsageError, *, lsb: bool) -> tuple[str, str, bool, bool]:
    """Kind, letters, whether to wait even without -v, and whether KILL follows."""
    first = action[:1]
    if action == "check":
        return "check", "C", True, False
    if action in _WORDS:
        return "control", _WORDS[action][0], True, _WORDS[action][1]
    if first in _CAPITALS:
        return "control", _CAPITALS[first][0], True, True
    if first in {"x", "e"}:
        return "control", "x", False, False
    if first and first in _LETTERS:
        return "control", first, False, False
    if first == "s" and (not lsb or action == "status"):
        return "status", "", False, False
    raise usage


def _number(text: str, otherwise: int) -> int:
    """What scan_ulong makes of a text: the digits that it begins with."""
    digits = ""
    for letter in text:
        if not letter.isascii() or not letter.isdigit() or len(digits) == _MOST_DIGITS:
            break
        digits += letter
    return int(digits) if digits else otherwise
