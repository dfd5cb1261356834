"""The state of the box → the answers of the health endpoint.

Formats: Prometheus text exposition format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bootstrap.frozen import dataclass
from bootstrap.status import render_status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bootstrap.checking import BoxHealth
    from bootstrap.status import Status

TEXT = "text/plain; charset=utf-8"
_STATES = ("stopped", "starting", "running", "stopping", "backoff", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One answer: HTTP status, media type and body."""

    status: int
    kind: str
    body: bytes


def render_documents(status: Status, health: BoxHealth) -> Mapping[str, Document]:
    """Every path with its answer. ``/healthz`` is for load balancers and names nothing; ``/readyz`` says why."""
    code = 200 if health.takes_traffic else 503
    reasons = "".join(f"{reason}\n" for reason in health.reasons)
    document = render_status(status) | {"health": health.word, "reasons": list(health.reasons)}
    return {
        "/healthz": Document(status=code, kind=TEXT, body=f"{health.word}\n".encode()),
        "/readyz": Document(status=code, kind=TEXT, body=f"{health.word}\n{reasons}".encode(errors="replace")),
        "/status.json": Document(status=200, kind="application/json", body=json.dumps(document).encode()),
        "/metrics": Document(
            status=200, kind="text/plain; version=0.0.4; charset=utf-8", body=_render_metrics(status, health).encode()
        ),
    }


def _render_metrics(status: Status, health: BoxHealth) -> str:
    programs = render_status(status)["programs"]
    families: list[tuple[str, str, list[tuple[Mapping[str, str], int]]]] = [
        ("bootstrap_healthy", "Whether this box should get traffic.", [({}, int(health.takes_traffic))]),
        ("bootstrap_converged", "Whether all runs, ready, as wanted.", [({}, int(status.is_converged))]),
        (
            "bootstrap_program_state",
            "1 for the state that a program is in.",
            [({"program": p["name"], "state": s}, int(p["state"] == s)) for p in programs for s in _STATES],
        ),
        ("bootstrap_program_ready", "Whether a program is ready.", [(_label(p), int(p["ready"])) for p in programs]),
        (
            "bootstrap_program_restarts",
            "Restarts by the supervisor since it was started on purpose.",
            [(_label(p), p["restarts"]) for p in programs],
        ),
    ]
    return "".join(line for family in families for line in _render_family(*family))


def _label(program: Mapping[str, Any]) -> dict[str, str]:
    return {"program": program["name"]}


def _render_family(name: str, help_text: str, samples: Iterable[tuple[Mapping[str, str], int]]) -> list[str]:
    lines = [f"# HELP {name} {help_text}\n", f"# TYPE {name} gauge\n"]
    for labels, value in samples:
        text = ",".join(f'{key}="{label}"' for key, label in labels.items())  # names and states: nothing to escape
        lines.append(f"{name}{{{text}}} {value}\n" if text else f"{name} {value}\n")
    return lines
