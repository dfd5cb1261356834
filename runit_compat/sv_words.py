"""A service as it was seen → the line that ``sv`` prints of it, and whether it is as somebody has asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One service at one moment, in runsv's terms."""

    state: str  # "run", "finish" or "down"
    pid: int  # 0 when it is down
    seconds: int  # in this state
    normally_up: bool = True
    paused: bool = False
    want_up: bool = False  # said of what is down
    want_down: bool = False  # said of what runs
    got_term: bool = False
    is_ready: bool = True
    log: Seen | None = None


def describe(seen: Seen, label: str) -> str:
    """The line without its end, and without the logger's part."""
    alive = seen.pid > 0
    words = [f"{seen.state}: {label}: {f'(pid {seen.pid}) ' if seen.state != 'down' else ''}{seen.seconds}s"]
    words += ["normally down"] * (alive and not seen.normally_up)
    words += ["normally up"] * (not alive and seen.normally_up)
    words += ["paused"] * (alive and seen.paused)
    words += ["want up"] * (not alive and seen.want_up)
    words += ["want down"] * (alive and seen.want_down)
    words += ["got TERM"] * (alive and seen.got_term)
    return ", ".join(words)


def describe_whole(seen: Seen, label: str) -> str:
    """What ``sv status`` says: with the logger, if there is one."""
    log = "" if seen.log is None else f"; {describe(seen.log, 'log')}"
    return describe(seen, label) + log


def has_taken_effect(letters: str, seen: Seen, before: Seen) -> bool:
    """Whether the service is as these letters ask; ``before`` is how it was when it was asked."""
    return all(_is_done(letter, seen, before) for letter in letters)


def _is_done(letter: str, seen: Seen, before: Seen) -> bool:
    alive = seen.pid > 0
    if letter in "tk":
        has_restarted = alive and seen.pid != before.pid and not seen.got_term and seen.is_ready
        return has_restarted or (not alive and not seen.want_up)
    wanted = {
        "u": alive and seen.state == "run" and seen.is_ready,
        "d": not alive,
        "x": not alive,
        "C": not alive or seen.is_ready,
        "p": not alive or seen.paused,
        "c": not alive or not seen.paused,
    }
    return wanted.get(letter, True)  # other signals: they were sent
