"""Values from elsewhere + an environment of ours → every difference, both ways, byte by byte.

What bootstrap itself sets, and the defaults of a definition, are no difference as long as the other side does not name
them: they are there on every box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.variable import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One key; ``None`` where a side has none."""

    key: str
    kind: Literal["missing", "different", "extra"]  # seen from here
    theirs: str | None
    ours: str | None
    file: str | None


def compare_values(theirs: Mapping[str, str | None], environment: Environment) -> list[Difference]:
    """The differences in alphabetical order; ``None`` is a key that must not be set."""
    differences: list[Difference] = []
    for key in sorted({*theirs, *environment.variables}):
        variable, wanted = environment.variables.get(key), theirs.get(key)
        if variable is None:
            if wanted is not None:
                differences.append(Difference(key=key, kind="missing", theirs=wanted, ours=None, file=None))
        elif wanted is None:
            if key in theirs or variable.layer.startswith("config/"):
                differences.append(
                    Difference(key=key, kind="extra", theirs=None, ours=variable.value, file=variable.file)
                )
        elif _bytes(wanted) != _bytes(variable.value):
            differences.append(
                Difference(key=key, kind="different", theirs=wanted, ours=variable.value, file=variable.file)
            )
    return differences


def _bytes(value: str) -> bytes:
    return value.encode(errors="surrogateescape")
