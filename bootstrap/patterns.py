"""What was typed after a verb → the programs that are meant."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from bootstrap.errors import TagError
from bootstrap.spelling import did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LISTED = 8


def select_programs(patterns: tuple[str, ...], known: Mapping[str, str]) -> list[str]:
    """Names, services and globs → program names; ``known`` maps programs to services. Nothing asked for is everything.

    Raises TagError naming what matches nothing, with the nearest name.
    """
    if not patterns:
        return sorted(known)
    chosen, problems = set(), []
    for pattern in patterns:
        found = {name for name, service in known.items() if pattern in {name, service} or fnmatchcase(name, pattern)}
        found = found or {name for name in known if _is_instance(name, pattern)}
        if not found:
            hint = did_you_mean(pattern, {*known, *known.values()}) or _listed(known)
            problems.append(f"cannot find program {quoted(pattern)}: nothing of that name here{hint}")
        chosen |= found
    if problems:
        raise TagError(*problems)
    return sorted(chosen)


def _is_instance(name: str, pattern: str) -> bool:
    """`api-worker` means api-worker-1 and its likes, where nothing else has that name."""
    process, _, instance = name.rpartition("-")
    return pattern == process and instance.isdigit()


def _listed(known: Iterable[str]) -> str:
    names = sorted(known)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f" (programs: {', '.join(names[:_LISTED])}{more})" if names else ""
