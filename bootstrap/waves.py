"""Needs → waves: what may start together, and the cycles that keep everything in them from ever starting."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def count_waves(needs: Mapping[str, Collection[str]]) -> dict[str, int]:
    """The wave of each name, counted from 0: one more than the last wave of what it needs.

    Needs that are not among the names hold nothing up. Names in a cycle, or behind one, are left out.
    """
    missing = {name: {need for need in wanted if need in needs} for name, wanted in needs.items()}
    needed_by: dict[str, list[str]] = {name: [] for name in needs}
    for name, wanted in missing.items():
        for need in wanted:
            needed_by[need].append(name)
    waves: dict[str, int] = {}
    wave, ready = 0, [name for name, wanted in missing.items() if not wanted]
    while ready:
        waves.update(dict.fromkeys(ready, wave))
        freed = []
        for name in ready:
            for waiting in needed_by[name]:
                missing[waiting].discard(name)
                if not missing[waiting]:
                    freed.append(waiting)
        wave, ready = wave + 1, freed
    return waves


def find_cycles(needs: Mapping[str, Collection[str]]) -> list[tuple[str, ...]]:
    """One cycle for each knot of names that need one another, its first name again at the end."""
    cycles: list[tuple[str, ...]] = []
    left = dict(needs)
    while True:
        started = count_waves(left).keys()
        left = {name: wanted for name, wanted in left.items() if name not in started}
        if not left:
            return cycles
        cycle = _walk_round(left)
        cycles.append(cycle)
        left = {name: wanted for name, wanted in left.items() if name not in cycle}


def _walk_round(stuck: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Everything stuck needs something stuck, so going from need to need must come back to a name."""
    steps = {min(stuck): 0}
    name = min(stuck)
    while True:
        name = next(need for need in stuck[name] if need in stuck)
        if name in steps:
            break
        steps[name] = len(steps)
    cycle = list(steps)[steps[name] :]
    first = cycle.index(min(cycle))
    return (*cycle[first:], *cycle[:first], cycle[first])
