"""The values that environments are made of: settings of layers, and the variables that come out.

Text is as ``os.environ`` holds it: undecodable bytes are surrogate escapes, so every byte but NUL survives.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PREFIX = "BOOTSTRAP_"
LONGEST = 128 * 1024  # bytes of `KEY=value` and the NUL at its end: Linux's MAX_ARG_STRLEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The user of this machine that a program runs as."""

    name: str
    uid: int
    gid: int
    home: str


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
    shadowed: Mapping[str, Setting] = field(default_factory=dict)  # lines of its .env that files of it lie over


History: TypeAlias = tuple[tuple[str, Setting], ...]  # (layer name, setting), strongest last


# A named tuple: a box has a hundred thousand of these, and a frozen dataclass takes three times as long to make.
class Variable(NamedTuple):
    """The effective value of a key, and where it comes from."""

    key: str
    value: str
    secret: bool
    layer: str
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Everything that one program will find in its environment, and the layers that it was made from."""

    variables: Mapping[str, Variable]
    layers: tuple[Layer, ...]  # lowest first
    secret: frozenset[str] = frozenset()  # keys that are masked, set or not

    def history(self, key: str) -> History:
        """Every layer that has a say about a key, removed or not, strongest last."""
        return tuple(
            (layer.name, settings[key])
            for layer in self.layers
            for settings in (layer.shadowed, layer.settings)
            if key in settings
        )


def parse_value(raw: bytes) -> str | None:
    """The content of a variable's file, by the rules of ``chpst -e``; ``None`` removes the variable."""
    if not raw:
        return None
    line = raw.partition(b"\n")[0].rstrip(b" \t").replace(b"\0", b"\n")
    return line.decode(errors="surrogateescape")


def render_value(value: str | None) -> bytes | None:
    """The file that ``parse_value`` reads this value from; ``None`` for a value that no such file can hold.

    That is one with NUL, because NUL stands for newline there, and one that ends in a blank or a tab.
    """
    if value is None:
        return b""
    line = value.encode(errors="surrogateescape").replace(b"\n", b"\0")
    return None if "\0" in value or line.endswith((b" ", b"\t")) else line + b"\n"


def is_reserved(key: str) -> bool:
    """Whether bootstrap alone sets this key."""
    return key == "PORT" or key.startswith(PREFIX)


def is_too_long(key: str, value: str) -> bool:
    """Whether no program could be started with this variable."""
    longest = LONGEST - len(key) - 2
    return 4 * len(value) > longest and len(value.encode(errors="surrogateescape")) > longest
