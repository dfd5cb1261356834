"""Tags as they are read, before anybody asks what they say: their keys, their order, where they contradict.

It stands apart from ``identity.py`` because an ``up`` that changes nothing reads tags and never their values.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bootstrap.frozen import dataclass
from bootstrap.spelling import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bootstrap.definition import Mode

PREFIX = "bootstrap:"
MODE = "bootstrap:mode"
SERVICE = "bootstrap:service"
KEYS = (
    MODE,
    SERVICE,
    "bootstrap:process",
    "bootstrap:scale",
    "bootstrap:ref",
    "bootstrap:expires",
    "bootstrap:target-groups",
    "bootstrap:dns",
    "bootstrap:bucket",
    "bootstrap:hold",
)
REF_OF = "bootstrap:ref."
STATUS = "bootstrap:status"  # written by the box itself
_METADATA_KEY = re.compile(r"[0-9a-zA-Z\-_+=,.@:]{1,128}")
_VARIABLE = "BOOTSTRAP_"
_SETTINGS = ("BOOTSTRAP_ROOT", "BOOTSTRAP_STATE", "BOOTSTRAP_TAG_TIMEOUT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """One tag as it was read; ``key`` is whole (``bootstrap:mode``), ``source`` says where it came from."""

    key: str
    value: str
    source: str


def missing_tags(tags: Iterable[Tag], modes: Mapping[str, Mode]) -> tuple[str, ...]:
    """The required keys that are not set. An unknown mode is not missing: the plan refuses it, with the valid ones."""
    values = {tag.key: tag.value for tag in tags}
    if MODE not in values:
        return (MODE,)
    mode = modes.get(values[MODE])
    if SERVICE in values or mode is None or mode.runs == "everything":
        return ()
    return (SERVICE,)


def qualified(key: str) -> str:
    """The whole key: ``mode`` and ``bootstrap:mode`` are the same."""
    return key if key.startswith(PREFIX) else PREFIX + key


def fits_metadata(key: str) -> bool:
    """Whether instance metadata can show a tag of this key; where it is to, a launch with any other fails."""
    return _METADATA_KEY.fullmatch(key) is not None and key not in {".", "..", "_index"}


def is_setting(variable: str) -> bool:
    """Whether a variable of a tags file is an option of the command itself and no tag."""
    return variable in _SETTINGS


def key_of_variable(variable: str) -> str | None:
    """``BOOTSTRAP_TARGET_GROUPS`` → ``bootstrap:target-groups``, ``BOOTSTRAP_REF_API`` → ``bootstrap:ref.api``."""
    if not variable.startswith(_VARIABLE):
        return None
    name = variable.removeprefix(_VARIABLE).lower().replace("_", "-")
    return PREFIX + (f"ref.{name[4:]}" if name.startswith("ref-") else name)


def lie_over(over: Iterable[Tag], under: Iterable[Tag]) -> tuple[Tag, ...]:
    """Both, sorted by key; where both have a key, only the one above."""
    by_key = {tag.key: tag for tag in (*under, *over)}
    return tuple(by_key[key] for key in sorted(by_key))


def contradictions(tags: Iterable[Tag]) -> list[str]:
    """One problem for each key that is set twice to different values."""
    said: dict[str, list[Tag]] = {}
    for tag in tags:
        said.setdefault(tag.key, []).append(tag)
    return [
        f"cannot use tag {quoted(key)}: it is set twice, to {_spoken(same)}; keep one of them"
        for key, same in said.items()
        if len({tag.value for tag in same}) > 1
    ]


def _spoken(same: Iterable[Tag]) -> str:
    return " and to ".join(f"{quoted(tag.value)} (from {tag.source})" for tag in same)
