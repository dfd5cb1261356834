"""``config/layers.yaml`` → the directories that environments are layered from, lowest first, and what guards them.

A directory is relative to ``config/``; ``{mode}``, ``{service}`` and ``{process}`` stand for what a program is. It
cannot lead out of ``config/``, nor to a hidden directory.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING

from bootstrap.config.guard import Guard, read_guards
from bootstrap.frozen import dataclass
from bootstrap.reading.problem import FlawedError, Problem, decode_text
from bootstrap.reading.schema import Keys, list_of, read_fields, scalar
from bootstrap.reading.strict_yaml import Scalar, parse_yaml
from bootstrap.spelling import or_list, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACEHOLDERS = ("{mode}", "{process}", "{service}")
_PLACEHOLDER = re.compile(r"{[^{}/]*}")
_PART = re.compile(r"(?:[A-Za-z0-9_-]|{[a-z]+})(?:[A-Za-z0-9_.-]|{[a-z]+})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersFile:
    """All that the file says."""

    order: tuple[str, ...]
    guards: Mapping[str, Guard] = field(default_factory=dict)  # by mode


def parse_layers_file(content: bytes) -> LayersFile:
    """The keys ``layers`` and ``guard``; raises FlawedError with all problems."""
    node = parse_yaml(decode_text(content)) or Scalar("", 1)
    values, problems = read_fields(node, _KEYS, "layers")
    if not problems and not values["order"]:
        problems.append(Problem(line=node.line, path=("layers",), text="should list at least one directory"))
    if problems:
        raise FlawedError(*problems)
    return LayersFile(**values)


def parse_order(content: bytes) -> tuple[str, ...]:
    """The order alone; raises FlawedError with all problems."""
    return parse_layers_file(content).order


def _parse_directory(text: str) -> str:
    for placeholder in _PLACEHOLDER.findall(text):
        if placeholder not in PLACEHOLDERS:
            raise ValueError(
                f"{quoted(placeholder)} stands for nothing{or_list(placeholder, PLACEHOLDERS, 'placeholders')}"
            )
    if not all(_PART.fullmatch(part) for part in text.split("/")):
        raise ValueError(f"should be a directory below config/ such as modes/{{mode}}, not {quoted(text)}")
    return text


_KEYS: Keys = {
    "layers": ("order", list_of(scalar("a directory below config/", _parse_directory))),
    "guard": ("guards", read_guards),
}
