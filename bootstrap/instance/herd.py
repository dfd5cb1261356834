"""Who in a group fails which hard check → whether most of them fail alike.

Where most boxes fail the same check, what is broken is what they all depend on: replacing them, one after the other,
would end with none. A note is good for two minutes; whoever still fails renews it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

FRESH_S = 120.0
_FEWEST = 2  # a box alone says nothing about others

Notes: TypeAlias = Mapping[str, Mapping[str, float]]  # program → instance → when it was noted, seconds since 1970


def next_notes(notes: Notes, instance: str, failing: Iterable[str], now: float) -> dict[str, dict[str, float]]:
    """The notes after one box has told which of its hard checks fail."""
    fresh = {
        program: {one: at for one, at in boxes.items() if one != instance and at >= now - FRESH_S}
        for program, boxes in notes.items()
    }
    for program in failing:
        fresh.setdefault(program, {})[instance] = now
    return {program: boxes for program, boxes in fresh.items() if boxes}


def most_fail_alike(notes: Notes, failing: Iterable[str], members: int) -> bool:
    """Whether more than half of the group fail one of these checks."""
    counts = [len(notes.get(program, {})) for program in failing]
    return any(count >= _FEWEST and count * 2 > members for count in counts)


def parse_notes(raw: object) -> dict[str, dict[str, float]]:
    """From JSON; raises ValueError for anything else."""
    try:
        return {
            str(program): {str(one): float(at) for one, at in boxes.items()}
            for program, boxes in raw.items()  # type: ignore[attr-defined] # whatever has no items is refused below
        }
    except (AttributeError, TypeError) as error:
        raise ValueError(f"no notes: {error}") from error
