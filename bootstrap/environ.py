"""Layers → Environment; every key remembers which layer set it, in which file, and what it shadowed.

Values are text as ``os.environ`` holds it: undecodable bytes are surrogate escapes, so every byte but NUL survives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A value kept elsewhere: an SSM parameter, or a Secrets Manager id with an optional ``#json-key``."""

    kind: Literal["ssm", "secret"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What one layer says about one key: a value, a reference, or (``None``) that the key is removed."""

    value: str | Reference | None
    file: str  # relative to the root; for values that bootstrap sets, who set it


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One config directory, or one source of values that is not a directory (the definition, bootstrap itself)."""

    name: str
    settings: Mapping[str, Setting]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """The effective value of a key and every layer that had a say, strongest last."""

    key: str
    value: str
    secret: bool
    history: tuple[tuple[str, Setting], ...]  # (layer name, setting)

    @property
    def file(self) -> str:
        """The file that the value comes from."""
        return self.history[-1][1].file


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Everything that one program will find in its environment."""

    variables: Mapping[str, Variable]
