"""A service as it was seen → the line that ``sv`` prints of it, and whether it is as somebody has asked for."""

from __future__ import annotations

from bootstrap.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One service at one moment, in runsv's terms."""

    state: str  # "run", "finish" or "down"
    pid: int  # 0 when it is down
    seconds: int  # in this state
    normally_up: bool = True
    paused: bool = False
    want: str = "u"  # or "d": whether it is started again when it ends
    got_term: bool = False
    is_new: bool = False  # whether it has come to this state since sv was started


def describe(seen: Seen, label: str) -> str:
    """The line without its end, and without the logger's part."""
    alive = seen.pid > 0
    words = [f"{seen.state}: {label}: {f'(pid {seen.pid}) ' if seen.state != 'down' else ''}{seen.seconds}s"]
    words += ["normally down"] * (alive and not seen.normally_up)
    words += ["normally up"] * (not alive and seen.normally_up)
    words += ["paused"] * (alive and seen.paused)
    words += ["want up"] * (not alive and seen.want == "u")
    words += ["want down"] * (alive and seen.want == "d")
    words += ["got TERM"] * (alive and seen.got_term)
    return ", ".join(words)


def needs_no_letter(letters: str, seen: Seen) -> bool:
    """Whether it is wanted so already; a service that is to go down may have heeded nothing yet."""
    return letters[0] == seen.want and (letters[0] != "d" or seen.got_term)


def asks_for_check(letters: str, seen: Seen) -> bool:
    """Whether it takes the check script to tell if this has taken effect, all else being well."""
    is_up = "u" in letters and seen.state == "run"
    is_back = bool({"t", "k"} & set(letters)) and seen.is_new and not seen.got_term
    return seen.pid > 0 and (is_up or is_back or "C" in letters)


def has_taken_effect(letters: str, seen: Seen, *, is_available: bool = True) -> bool:
    """Whether the service is as these letters ask; ``is_available`` is what its check script says."""
    return all(_is_done(letter, seen, is_available=is_available) for letter in letters)


def _is_done(letter: str, seen: Seen, *, is_available: bool) -> bool:
    alive = seen.pid > 0
    if letter in "tk":
        is_back = alive and seen.is_new and not seen.got_term and is_available
        return is_back or (not alive and seen.want == "d")
    done = {
        "x": False,  # it is done when there is nothing to see any more
        "u": alive and seen.state == "run" and is_available,
        "d": not alive and seen.state == "down",
        "o": seen.want == "d" if alive else seen.is_new,
        "C": not alive or is_available,
        "p": not alive or seen.paused,
        "c": not alive or not seen.paused,
    }
    return done.get(letter, True)  # other signals: they were sent
