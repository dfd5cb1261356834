"""Check results + policy → what is known of a running program, and of the whole box.

One bad look is noise: a program fails when ``failures`` looks in a row are bad, and is well again after one good one.
The box is well when the wanted generation lives and every *hard* check passes; a failing soft check makes it degraded,
which is worth knowing and no reason to replace it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bootstrap.definition import Check
    from bootstrap.health import ProbeResult

Word: TypeAlias = Literal["ok", "degraded", "failing", "starting", "draining"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the checks of one process have seen; a new process begins anew."""

    pid: int
    failures: int = 0  # in a row
    detail: str = ""
    is_failing: bool = False
    to_restart: bool = False  # this very result made it fail, and its definition wants it restarted then


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxHealth:
    """The one word for load balancers, and why."""

    word: Word
    reasons: tuple[str, ...] = ()

    @property
    def takes_traffic(self) -> bool:
        """Whether a load balancer should send requests."""
        return self.word in {"ok", "degraded"}


def next_checked(before: Checked, check: Check, result: ProbeResult) -> Checked:
    """What is known after one more look."""
    if result.ok:
        return Checked(pid=before.pid, detail=result.detail)
    failures = before.failures + 1
    is_failing = failures >= check.failures
    return replace(
        before,
        failures=failures,
        detail=result.detail,
        is_failing=is_failing,
        to_restart=is_failing and not before.is_failing and check.then == "restart",
    )


def judge_box(
    *,
    unready: Sequence[str],
    checked: Mapping[str, Checked],
    checks: Mapping[str, Check],
    draining: str | None,
    lack: str | None = None,
    most_fail_alike: bool = False,
) -> BoxHealth:
    """Judge the box; ``unready`` names wanted programs that do not run, ready, as they should.

    ``draining`` is why it is to get no requests, whatever runs; ``lack`` is what it lacks beside its programs.

    ``most_fail_alike`` says that most boxes of the group fail the same hard check: then this one is not what is wrong,
    and replacing it would help nobody.
    """
    if draining is not None:
        return BoxHealth(word="draining", reasons=(draining,))
    if lack is not None:
        return BoxHealth(word="starting", reasons=(lack,))
    if unready:
        return BoxHealth(word="starting", reasons=tuple(f"{name} is not ready" for name in unready))
    failing = {name: known for name, known in checked.items() if known.is_failing and name in checks}
    reasons = tuple(f"{name}: {known.detail}" for name, known in sorted(failing.items()))
    if any(checks[name].hard for name in failing) and not most_fail_alike:
        return BoxHealth(word="failing", reasons=reasons)
    return BoxHealth(word="degraded" if failing else "ok", reasons=reasons)
