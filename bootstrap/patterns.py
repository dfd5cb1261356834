"""What was typed after a verb → the programs that are meant."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from bootstrap.errors import TagError
from bootstrap.spelling import did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping


def select_programs(patterns: tuple[str, ...], known: Mapping[str, str]) -> list[str]:
    """Names, services and globs → program names; ``known`` maps programs to services. Nothing asked for is everything.

    Raises TagError naming what matches nothing, with the nearest name.
    """
    if not patterns:
        return sorted(known)
    chosen, problems = set(), []
    for pattern in patterns:
        found = {name for name, service in known.items() if pattern in {name, service} or fnmatchcase(name, pattern)}
        if not found:
            words = {*known, *known.values()}
            problems.append(
                f"cannot find program {quoted(pattern)}: nothing of that name here{did_you_mean(pattern, words)}"
            )
        chosen |= found
    if problems:
        raise TagError(*problems)
    return sorted(chosen)
