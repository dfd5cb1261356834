"""A runit service directory as it was found → a service's folder: the same scripts, and a definition that runs them.

``supervise`` is runsv's own state and ``log/main`` what a logger wrote; both stay where they are. What of runsv(8) has
no counterpart here is told, never dropped in silence.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bootstrap.frozen import dataclass
from bootstrap.reading.service_directory import EXECUTABLES, FILES, Definition, define

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_LOST = {"log/finish": "runsv does not run it either"}
_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./ &-]*")
_HEAD = "# The service directory {origin}, as `bootstrap import runit` understood it.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What stands in a service directory: path → content, which can be executed, and which not everybody may read."""

    origin: str
    files: Mapping[str, bytes]
    executable: Collection[str]
    private: Collection[str] = ()

    @property
    def scripts(self) -> list[str]:
        """What counts for a definition."""
        return [name for name in self.files if name not in EXECUTABLES or name in self.executable]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The folder of a service, what was understood, and what could not be kept, each with what it is for."""

    files: Mapping[str, tuple[bytes, int]]
    understood: tuple[str, ...]
    lost: tuple[str, ...]


def import_service_directory(found: Found) -> Imported:
    """What to write for a service directory. Raises KeyError if it has no ``run`` that can be executed."""
    scripts = found.scripts
    if "run" not in scripts:
        raise KeyError("run")
    text = _HEAD.format(origin=found.origin) + _render(define(scripts))
    files = {name: (content, _mode(found, name)) for name, content in found.files.items()}
    not_executable = [
        f"{name} (it cannot be executed)" for name in EXECUTABLES if name in files and name not in scripts
    ]
    return Imported(
        files={**files, "service.yaml": (text.encode(), 0o644)},
        understood=tuple(name for name in FILES if name in scripts),
        lost=(*(f"{name} ({why})" for name, why in _LOST.items() if name in files), *not_executable),
    )


def _mode(found: Found, name: str) -> int:
    return (0o755 if name in found.executable else 0o644) & (0o700 if name in found.private else 0o777)


def _render(definition: Definition, indent: str = "") -> str:
    """YAML of mappings and plain text, which is all that a definition of ours holds here."""
    lines = []
    for key, value in definition.items():
        if isinstance(value, str):
            lines.append(f"{indent}{key}: {value if _PLAIN.fullmatch(value) else repr(value)}\n")
        else:
            lines.append(f"{indent}{key}:\n{_render(value, indent + '  ')}")
    return "".join(lines)
