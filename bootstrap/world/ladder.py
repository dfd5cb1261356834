"""How a program is stopped, as its rendering says. supervisord reads it too, so little is imported here."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from bootstrap.frozen import dataclass
from bootstrap.world import processes
from bootstrap.world.facts import read_facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.box import Box

GRACE_S = 10.0  # where nobody says


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The steps of one program, as its rendering says."""

    entry: str  # the directory of its rendering
    script: str | None  # the file to run, if there is one
    signal: str
    grace_s: float
    whole_group: bool  # the signal is for all that shares the main process's group
    pipe: str | None = None  # of a logger: it gets no signal before it has read this
    instead: bool = False  # a script that exits 0 stands for the signal; the supervisor then leaves that to us

    def control(self, letter: str) -> str | None:
        """The file that runsv would run for this letter, if there is one."""
        path = f"{self.entry}/control/{letter}"
        return path if os.path.exists(path) else None

    @property
    def patience_s(self) -> float:
        """After this long even KILL has not worked."""
        return self.grace_s + processes.KILL_WAIT_S


def read_ladders(box: Box, store_names: Mapping[str, str]) -> dict[str, Ladder]:
    """Program name → its ladder; one whose rendering is gone is stopped by TERM and ten seconds."""
    facts = read_facts(box, store_names.values())
    return {name: _ladder(box, store_name, facts.get(store_name)) for name, store_name in store_names.items()}


def _ladder(box: Box, store_name: str, facts: Mapping[str, Any] | None) -> Ladder:
    stop = facts["stop"] if facts else {}
    name, grace_s = str(stop.get("signal")), stop.get("grace_s")
    entry = f"{box.store}/{store_name}"
    script = f"{entry}/control/t"
    return Ladder(
        entry=entry,
        script=script if os.path.exists(script) else None,
        signal=name if f"SIG{name}" in signal.Signals.__members__ else "TERM",
        grace_s=float(grace_s) if isinstance(grace_s, int | float) else GRACE_S,
        whole_group=stop.get("group") is True,
        instead=stop.get("instead") is True,
        pipe=f"{box.run}/pipe-{facts['reads']}" if facts and isinstance(facts.get("reads"), str) else None,
    )
