"""What rendering yields: a generation, which holds no value of any environment, and the store entries that it names.

The values stand apart from the stage that makes them (``generation.py``) because they are all that an ``up`` with
nothing to do ever needs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What a generation says about one program; holds no value of its environment."""

    name: str
    service: str
    process: str
    fingerprint: str
    wave: int
    needs: tuple[str, ...]  # services planned on this box
    port: int | None
    ready: Mapping[str, Any]  # the probe, as ``definition.render_probe`` writes it
    check: Mapping[str, Any] | None = None  # likewise, by ``definition.render_check``
    stop_signal: str
    stop_grace_s: float
    stop_script: str | None
    stop_group: bool
    reload: str | None
    restart_window_s: float
    restart_starts: int
    setup: tuple[str, ...]
    by_hand: bool = False  # only a person starts it
    stop_instead: bool = False  # the stop script stands for the signal if it exits 0

    @property
    def store_name(self) -> str:
        """The directory below the store."""
        return f"{self.name}-{self.fingerprint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What was rendered for this box: a set of names that point into the store."""

    id: str
    mode: str
    service: str | None
    health: Mapping[str, Any] | None = None  # where the health endpoint listens: port, address
    traffic: Mapping[str, Any] | None = None  # as ``traffic.render_traffic`` writes it
    units: tuple[Unit, ...]  # by wave, then name
    sources: tuple[Mapping[str, Any], ...] = ()  # what sources were resolved to, as ``checkout.render_code`` writes it


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreEntry:
    """One directory of the store: file name → (content, mode)."""

    name: str
    files: Mapping[str, tuple[bytes, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """A generation and the store entries that it names."""

    generation: Generation
    entries: tuple[StoreEntry, ...]
    is_whole: bool = True  # whether it depends on nothing but tags, definitions, configuration and sources


def waves_of(generation: Generation | None) -> dict[str, int]:
    """The wave of each program."""
    return {} if generation is None else {unit.name: unit.wave for unit in generation.units}


def render_summary(generation: Generation) -> bytes:
    """The generation as JSON, for ``generations/<id>/generation.json``."""
    summary = {
        "id": generation.id,
        "mode": generation.mode,
        "service": generation.service,
        "health": generation.health,
        "traffic": generation.traffic,
        "units": [{name: getattr(unit, name) for name in Unit.__slots__} for unit in generation.units],
        **({"sources": generation.sources} if generation.sources else {}),
    }
    return json.dumps(summary).encode()  # an indent would take the slow encoder


def parse_summary(text: bytes) -> Generation:
    """The inverse of ``render_summary``; raises ValueError for anything else."""
    try:
        raw = json.loads(text)
        units = tuple(
            Unit(**unit | {"needs": tuple(unit["needs"]), "setup": tuple(unit["setup"])}) for unit in raw["units"]
        )
        return Generation(
            id=raw["id"],
            mode=raw["mode"],
            service=raw["service"],
            health=raw["health"],
            traffic=raw.get("traffic"),  # not known to earlier versions
            units=units,
            sources=tuple(raw.get("sources", ())),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a generation: {error}") from error


def facts_of(entries: Iterable[StoreEntry], names: Collection[str] | None = None) -> dict[str, dict[str, Any]]:
    """What is known about renderings, by store name; about these alone, if some are named."""
    return {
        entry.name: json.loads(entry.files["program.json"][0])
        for entry in entries
        if names is None or entry.name in names
    }
