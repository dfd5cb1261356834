"""The stop ladder: script, signal, grace, KILL; done only when everything that belonged to the program is gone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from bootstrap.world import clock, processes, scripts, store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bootstrap.box import Box
    from bootstrap.observed import ObservedProgram
    from bootstrap.world.supervisord import Supervisor

DEFAULT_GRACE_S = 10.0
_SLOWEST_POLL_S = 0.05
_NAME_THE_BLOCKER_S = 3.0
_DOWN = frozenset({"stopped", "failed"})


class Stopper:
    """Stops programs, many at a time."""

    def __init__(self, box: Box, supervisor: Supervisor, mark: str, say: Callable[[str, str], None]) -> None:
        self._box = box
        self._supervisor = supervisor
        self._mark = mark
        self._say = say

    def stop_in_waves(self, programs: Iterable[ObservedProgram], waves: Mapping[str, int]) -> None:
        """Stop programs in reverse waves, each wave together; ``waves`` is by program name."""
        by_wave: dict[int, list[ObservedProgram]] = {}
        for program in programs:
            by_wave.setdefault(waves.get(program.name, 0), []).append(program)
        for wave in sorted(by_wave, reverse=True):
            self._stop(by_wave[wave])

    def _stop(self, programs: Sequence[ObservedProgram]) -> None:
        """Stop these together; returns when they and all that they have forked are gone, bounded by the slowest."""
        facts = store.read_facts(self._box, [program.store_name for program in programs])
        graces = {program.name: _grace(facts.get(program.store_name)) for program in programs}
        for program in programs:
            if program.pid is not None:
                self._say(program.name, "stopping")
        self._run_scripts(programs, graces)
        self._supervisor.stop(program for program in programs if program.state not in _DOWN)
        self._wait_until_down({program.name for program in programs}, graces)
        self._end_leftovers(programs, graces)

    def _run_scripts(self, programs: Sequence[ObservedProgram], graces: dict[str, float]) -> None:
        running = []
        for program in programs:
            script = f"{self._box.store}/{program.store_name}/control/t"
            if program.pid is None or not os.path.exists(script):
                continue
            child = scripts.start_script([script], self._box.program_log(program.name), self._mark, append=True)
            running.append((program.name, child, clock.now() + graces[program.name]))
        for name, child, deadline in running:
            code = scripts.wait_until_ended(child, deadline)
            if code is None:
                self._say(name, f"its stop script did not end within {graces[name]:g} s and was killed")
            elif code:
                self._say(name, f"its stop script exited with code {code}")

    def _wait_until_down(self, names: set[str], graces: dict[str, float]) -> None:
        """Poll until the supervisor says so; it sends KILL itself when a grace is over."""
        begun = clock.now()
        interval = 0.002
        told = False
        while True:
            left = [p for p in self._supervisor.observe(names).programs if p.state not in _DOWN]
            if not left:
                return
            waited = clock.now() - begun
            if waited > _NAME_THE_BLOCKER_S and not told:
                told = True
                for program in left:
                    rest = max(0.0, graces[program.name] - waited)
                    self._say(program.name, f"still stopping (pid {program.pid}); KILL follows in {rest:.0f} s")
            if waited > max(graces[p.name] for p in left) + processes.KILL_WAIT_S:
                processes.end([p.pid for p in left if p.pid is not None], grace_s=0.0)
            backoff = [p for p in left if p.state in {"backoff", "running", "starting"}]
            if backoff:
                self._supervisor.stop(backoff)  # it was restarted in the very moment that it was to stop
            clock.sleep(interval)
            interval = min(_SLOWEST_POLL_S, interval * 1.3)

    def _end_leftovers(self, programs: Sequence[ObservedProgram], graces: dict[str, float]) -> None:
        names = {program.name for program in programs}
        groups = {program.pid for program in programs if program.pid is not None}

        def find() -> list[processes.Marked]:
            marked = processes.read_marked(self._box)
            return [process for process in marked if process.program in names or process.group in groups]

        processes.end_all(find, grace_s=max(graces.values()))


def _grace(facts: dict[str, Any] | None) -> float:
    return DEFAULT_GRACE_S if facts is None else float(facts["stop"]["grace_s"])
