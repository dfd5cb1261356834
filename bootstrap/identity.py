"""Raw tags → Identity.

A tag value is hostile input: names match ``NAME``, everything else has a closed grammar of its own. All problems are
reported at once. Nothing is guessed: a mode that is not set is an error, never a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """One tag as it was read; ``key`` is whole (``bootstrap:mode``), ``source`` says where it came from."""

    key: str
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What this box is for."""

    mode: str
    service: str | None = None
    process: str | None = None
    scale: Mapping[str, int]  # process name -> instances
    ref: str | None = None
    refs: Mapping[str, str]  # service name -> git ref
    expires: datetime | None = None
    target_groups: tuple[str, ...] = ()
    dns: str | None = None
    bucket: str | None = None
    hold: bool = False
    tags: tuple[Tag, ...]  # all that were read, sorted by key
