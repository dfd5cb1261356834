"""``guard:`` of ``config/layers.yaml`` → what a mode must never reach; its environments → where they do.

    guard:
      review:
        against: [production, staging]        # modes
        hosts: ["*.prod.example.com"]         # and these hosts, in any value
        secrets: ["/prod/*"]                  # and these references
        allow: [status.example.com]           # hosts that both may reach

Against a mode means: none of the layers that are that mode's alone, no reference that its environments resolve, and no
host that its own layers name. This machine itself (127.0.0.1, localhost) is nobody's host.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from bootstrap.frozen import dataclass
from bootstrap.reading.problem import FlawedError
from bootstrap.reading.scalars import NAME_TEXT, TEXT
from bootstrap.reading.schema import Keys, list_of, read_entries, read_fields
from bootstrap.variable import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bootstrap.reading.strict_yaml import Node, Scalar
    from bootstrap.variable import Layer, Setting

_LONGEST_HOST = 260  # characters, with a port; the bounds keep a search in a hostile value from taking its square
_IN_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://(?:[^/@\s]*@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)")
_ALONE = re.compile(r"((?:[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?\.)+(?:[A-Za-z]{2,}|\d{1,3}))(?::\d{1,5})?")
_OWN = re.compile(r"localhost|127\.[0-9.]+|\[::1?\]|0\.0\.0\.0")
_VERSION = re.compile(r"v?\d+(\.\d+){1,2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What one mode must never reach."""

    mode: str
    line: int  # in config/layers.yaml
    against: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """What belongs to a mode that is guarded against."""

    mode: str
    layers: frozenset[str]  # config/modes/production: the layers that are its alone
    references: frozenset[Reference]
    hosts: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Something that a guarded mode reaches; ``setting`` is ``None`` where a whole layer is."""

    layer: str
    key: str | None
    setting: Setting | None
    cause: str


def read_guards(node: Node) -> dict[str, Guard]:
    """The mapping from modes to what they must not reach; raises FlawedError."""
    return read_entries(node, _read_guard)


def hosts_in(value: str) -> Iterator[str]:
    """The hosts that a value names: in URLs, and alone or in a list."""
    yield from (match[1].lower() for match in _IN_URL.finditer(value))
    for word in value.split(","):
        alone = _ALONE.fullmatch(word.strip()) if len(word) <= _LONGEST_HOST else None
        if alone and not _VERSION.fullmatch(alone[1]):
            yield alone[1].lower()


def find_reach(
    guard: Guard, layers: Iterable[Layer], winners: Mapping[str, Setting], others: Iterable[Protected]
) -> Iterator[Reach]:
    """Where one environment of a guarded mode reaches what it must not; ``winners`` are what it resolves to."""
    others = tuple(others)
    for layer in layers:
        for other in others:
            if layer.name in other.layers:
                yield Reach(layer=layer.name, key=None, setting=None, cause=f"is a layer of {other.mode} alone")
    for key, setting in winners.items():
        cause = _judge_setting(guard, setting, others)
        if cause is not None:
            yield Reach(layer="", key=key, setting=setting, cause=cause)


def _judge_setting(guard: Guard, setting: Setting, others: tuple[Protected, ...]) -> str | None:
    value = setting.value
    if isinstance(value, Reference):
        return _judge_reference(guard, value, others)
    for host in hosts_in(value or ""):
        if _OWN.fullmatch(host) or _matches(host, guard.allow):
            continue
        if _matches(host, guard.hosts):
            return f"names the host {host}"
        for other in others:
            if host in other.hosts:
                return f"names the host {host}, which is in a layer of {other.mode}"
    return None


def _judge_reference(guard: Guard, reference: Reference, others: tuple[Protected, ...]) -> str | None:
    shown = f"{reference.kind}:{reference.text}"
    if _matches(reference.text, guard.secrets) or _matches(shown, guard.secrets):
        return f"refers to {shown}"
    for other in others:
        if reference in other.references:
            return f"refers to {shown}, as {other.mode} does"
    return None


def _matches(text: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


_GUARD: Keys = {
    "against": ("against", list_of(NAME_TEXT)),
    "hosts": ("hosts", list_of(TEXT)),
    "secrets": ("secrets", list_of(TEXT)),
    "allow": ("allow", list_of(TEXT)),
}


def _read_guard(key: Scalar, node: Node) -> Guard:
    NAME_TEXT(key)
    values, problems = read_fields(node, _GUARD)
    if problems:
        raise FlawedError(*problems)
    return Guard(mode=key.text, line=key.line, **values)
