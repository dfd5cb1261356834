"""Samples and verdicts → text for people, and a document for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from contestants import Bootstrap
from samples import Measured, Samples, Summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from targets import Verdict

_COUNTS = [measured for measured in Measured if not measured.unit]
_ALWAYS_TOLD = Measured.MANAGERS  # of the other counts, only what is not zero


def render_tables(samples: Samples) -> str:
    """One table for each number of services: every time and size with its spread and how we compare."""
    return "\n".join(line for size in samples.sizes() for line in _table(samples, size))


def render_verdicts(verdicts: list[Verdict]) -> str:
    """One line for each target and size."""
    rows = [_verdict_row(verdict) for verdict in verdicts]
    head = ("target", "services", "ours", "theirs", "ratio", "at most", "holds", "against")
    kept = sum(verdict.holds for verdict in verdicts)
    return "\n".join([*_aligned([head, *rows], left={0, 6, 7}), f"{kept} of {len(verdicts)} targets hold"])


def render_document(samples: Samples, verdicts: list[Verdict], machine: dict[str, str]) -> dict[str, Any]:
    """All values, unrounded."""
    return {
        "machine": machine,
        "samples": [
            {
                "services": size,
                "contestant": name,
                "measured": measured.name.lower(),
                "unit": measured.unit,
                "values": values,
            }
            for (size, name, measured), values in samples.values.items()
        ],
        "targets": [asdict(verdict) | {"holds": verdict.holds} for verdict in verdicts],
        "notes": samples.notes,
    }


def _table(samples: Samples, size: int) -> Iterator[str]:
    head = ("", "", "median", "", "min–max", "n", "ours/theirs")
    rows = [row for measured in Measured if measured.unit for row in _rows(samples, size, measured)]
    yield f"{size} service{'' if size == 1 else 's'}"
    yield from _aligned([head, *rows], left={0, 1, 3})
    yield from _count_lines(samples, size)
    yield ""


def _rows(samples: Samples, size: int, measured: Measured) -> Iterator[tuple[str, ...]]:
    ours = samples.summary(size, Bootstrap.name, measured)
    title = measured.title
    for name in samples.contestants(size):
        summary = samples.summary(size, name, measured)
        if summary is None:
            continue
        ratio = "" if ours is None or name == Bootstrap.name else f"{ours.median / summary.median:.2f}×"
        yield title, name, _number(summary.median), measured.unit, _spread(summary), str(summary.count), ratio
        title = ""


def _count_lines(samples: Samples, size: int) -> Iterator[str]:
    for measured in _COUNTS:
        told = [
            f"{name} {summary.most:.0f}"
            for name in samples.contestants(size)
            if (summary := samples.summary(size, name, measured)) and (summary.most or measured is _ALWAYS_TOLD)
        ]
        if told:
            yield f"{measured.title}: {' · '.join(told)}"


def _verdict_row(verdict: Verdict) -> tuple[str, ...]:
    return (
        verdict.title,
        str(verdict.size),
        _figure(verdict.ours, verdict.unit),
        _figure(verdict.theirs, verdict.unit),
        "" if not verdict.is_ratio or verdict.value is None else f"{verdict.value:.2f}×",
        f"{verdict.limit:g}×" if verdict.is_ratio else f"{verdict.limit:g} {verdict.unit}".rstrip(),
        "yes" if verdict.holds else "not measured" if verdict.value is None else "NO",
        verdict.peer or "",
    )


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{_number(value)} {unit}" if unit else f"{value:g}"


def _spread(summary: Summary) -> str:
    return f"{_number(summary.least)}–{_number(summary.most)}"


def _number(value: float) -> str:
    """Three figures are as much as such a measurement is worth."""
    if value < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _aligned(rows: Iterable[tuple[str, ...]], left: set[int]) -> Iterator[str]:
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
