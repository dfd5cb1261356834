"""Samples → what was promised, and whether it holds here.

A target compares medians of one run, so that a slow machine is slow for everybody. Where chpst is not installed, the
configuration with ``environment=`` stands in for the one with ``chpst -e``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from contestants import Bootstrap, BootstrapBoot, BootstrapTerm, Runsvdir, Supervisord, SupervisordEnvironment
from samples import Measured, Samples

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHPST_FIRST = (Supervisord.name, SupervisordEnvironment.name)
_ENVIRONMENT = (SupervisordEnvironment.name,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """At most ``limits[size]`` (``None``: any size): of the first peer that was measured, without peers as it is."""

    title: str
    measured: Measured
    limits: Mapping[int | None, float]
    peers: tuple[str, ...] = ()
    theirs: Measured | None = None  # where their side is measured otherwise
    ours: str = Bootstrap.name  # the contestant whose figure it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A target at one size. ``ours`` is ``None`` when it was not measured, which is no success."""

    title: str
    size: int
    ours: float | None
    theirs: float | None
    peer: str | None
    value: float | None  # the ratio, or ours where there is no peer
    limit: float
    unit: str
    is_ratio: bool

    @property
    def holds(self) -> bool:
        """Whether it is kept."""
        return self.value is not None and self.value <= self.limit


TARGETS = (
    Target(
        title="cold `up` until all are ready",
        measured=Measured.READY,
        theirs=Measured.COLD,
        peers=_CHPST_FIRST,
        limits={10: 0.25, 100: 0.45, 500: 0.8},
    ),
    Target(
        title="`up`, nothing changed",
        measured=Measured.NOOP,
        peers=_CHPST_FIRST,
        limits={10: 1.0, 100: 0.8, 500: 0.5},
    ),
    Target(title="`status`", measured=Measured.STATUS, peers=_CHPST_FIRST, limits={None: 1.2}),
    Target(
        title="one variable changed",
        measured=Measured.CHANGE,
        peers=_ENVIRONMENT,
        limits={10: 0.2, 100: 0.2, 500: 0.3},
    ),
    Target(title="`down`, each takes 300 ms", measured=Measured.SLOW_DOWN, limits={100: 600.0}),
    Target(
        title="the same, SIGTERM to supervisord",
        measured=Measured.SLOW_DOWN,
        ours=BootstrapTerm.name,
        limits={100: 800.0},
    ),
    Target(title="a killed program's new start", measured=Measured.CRASH, peers=(Runsvdir.name,), limits={10: 1.5}),
    Target(
        title="supervisord killed under `boot`",
        measured=Measured.RECOVERY,
        ours=BootstrapBoot.name,
        limits={10: 2000.0},
    ),
    Target(title="memory of the daemon", measured=Measured.DAEMON_MEMORY, peers=_CHPST_FIRST, limits={None: 1.15}),
    Target(title="resident: the daemon alone", measured=Measured.MANAGERS, limits={None: 1}),
    Target(title="restarted by an `up` of nothing", measured=Measured.NOOP_RESTARTS, limits={None: 0}),
    Target(title="… files read by supervisord", measured=Measured.CONFIG_READS, limits={None: 0}),
    Target(title="… boto3 imported", measured=Measured.BOTO3_IMPORTS, limits={None: 0}),
    Target(title="restarted by another's change", measured=Measured.OTHER_RESTARTS, limits={None: 0}),
    Target(title="left behind by `down`", measured=Measured.LEFT_BEHIND, limits={None: 0}),
)


def judge_targets(samples: Samples, sizes: list[int]) -> list[Verdict]:
    """Every target at every size that it is about."""
    return [
        _judge(target, size, target.limits.get(size, target.limits.get(None, 0.0)), samples)
        for target in TARGETS
        for size in sizes
        if size in target.limits or None in target.limits
    ]


def _judge(target: Target, size: int, limit: float, samples: Samples) -> Verdict:
    ours = _figure(samples, size, target.ours, target.measured)
    peer, theirs = _first_peer(target, size, samples)
    value = ours
    if target.peers:
        value = ours / theirs if ours is not None and theirs else None
    return Verdict(
        title=target.title,
        size=size,
        ours=ours,
        theirs=theirs,
        peer=peer,
        value=value,
        limit=limit,
        unit=target.measured.unit,
        is_ratio=bool(target.peers),
    )


def _first_peer(target: Target, size: int, samples: Samples) -> tuple[str | None, float | None]:
    for peer in target.peers:
        theirs = _figure(samples, size, peer, target.theirs or target.measured)
        if theirs is not None:
            return peer, theirs
    return None, None


def _figure(samples: Samples, size: int, contestant: str, measured: Measured) -> float | None:
    """The median; of a count the most, because one slip is a slip."""
    summary = samples.summary(size, contestant, measured)
    if summary is None:
        return None
    return summary.median if measured.unit else summary.most
