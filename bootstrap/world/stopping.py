"""The stop ladder: script, signal, grace, KILL; done only when everything that belonged to the program is gone.

Every stop is this one: of programs that a supervisor holds, and of those that have lost theirs (``abandoned.py``). What
differs is the ``Hold``: how the signal is sent, and how one learns that the main process has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bootstrap.world import cgroups, clock, pipes, processes, scripts
from bootstrap.world.ladder import read_ladders

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from bootstrap.box import Box
    from bootstrap.observed import ObservedProgram
    from bootstrap.world.ladder import Ladder
    from bootstrap.world.supervisord import Supervisor

_FIRST_POLL_S = 0.002
_SLOWEST_POLL_S = 0.05
_WORTH_SAYING_S = 3.0
_DOWN = frozenset({"stopped", "failed"})


class Hold(Protocol):
    """The grip on the main processes of some programs."""

    def send(self, programs: Sequence[ObservedProgram], ladders: Mapping[str, Ladder], spared: Collection[str]) -> None:
        """Send each its stop signal, but for the ``spared``; from now on none is started again."""

    def living(self, names: Collection[str]) -> list[ObservedProgram]:
        """Those whose main process has not ended; ``names`` are programs."""


class Supervised:
    """The grip of a living supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def send(self, programs: Sequence[ObservedProgram], ladders: Mapping[str, Ladder], spared: Collection[str]) -> None:
        """The supervisor knows the signals, and sends none where a script may stand for it."""
        self._supervisor.stop(program for program in programs if program.state not in _DOWN)
        for program in programs:
            ladder = ladders[program.name]
            if ladder.instead and program.name not in spared and program.pid is not None:
                processes.send_to(program.pid, ladder.signal, whole_group=ladder.whole_group)
            if program.paused and program.pid is not None:  # else it could heed nothing but KILL
                processes.send_to(program.pid, "CONT", whole_group=False)

    def living(self, names: Collection[str]) -> list[ObservedProgram]:
        left = [p for p in self._supervisor.observe(names).programs if p.state not in _DOWN]
        # one that was restarted in the very moment that it was to stop
        self._supervisor.stop([p for p in left if p.state in {"backoff", "running", "starting"}])
        return left


class Stopper:
    """Stops programs, many at a time. ``stuck`` says of which not even KILL ended everything, and why."""

    def __init__(self, box: Box, hold: Hold, mark: str, say: Callable[[str, str], None], then: str = "") -> None:
        """``then`` says what a stop is for, as runsv's letters do: "d" down, "x" the end, nothing for a restart."""
        self.stuck: dict[str, str] = {}
        self._box = box
        self._hold = hold
        self._mark = mark
        self._say = say
        self._then = then

    def stop_in_waves(self, programs: Iterable[ObservedProgram], waves: Mapping[str, int]) -> None:
        """Stop programs in reverse waves, each wave together; ``waves`` is by program name."""
        by_wave: dict[int, list[ObservedProgram]] = {}
        for program in programs:
            by_wave.setdefault(waves.get(program.name, 0), []).append(program)
        for wave in sorted(by_wave, reverse=True):
            self._stop(by_wave[wave])

    def _stop(self, programs: Sequence[ObservedProgram]) -> None:
        """Stop these together; returns when they and all that they have forked are gone, bounded by the slowest."""
        ladders = read_ladders(self._box, {program.name: program.store_name for program in programs})
        for program in programs:
            if program.pid is not None:
                self._say(program.name, "stopping")
        self._wait_until_drained(ladders.values())
        try:
            spared = self._run_scripts(programs, ladders)
        except BaseException:
            self._hold.send(programs, ladders, ())  # what its script has quiesced must not go on like that
            raise
        self._hold.send(programs, ladders, spared)
        following = self._start_following(programs, ladders)
        self._wait_until_down(programs, ladders)
        for child, deadline in following:
            scripts.wait_until_ended(child, deadline)
        self._end_leftovers(programs, ladders)

    def _run_scripts(self, programs: Sequence[ObservedProgram], ladders: Mapping[str, Ladder]) -> set[str]:
        """Side by side; the answer is which programs get no signal, because their script stands for it."""
        begun = clock.now()
        spared = set()
        running = {}
        for program in programs:
            script = ladders[program.name].script
            if program.pid is not None and script is not None:
                child = self._start_script(program.name, script)
                if child is not None:
                    running[program.name] = child
        for name, child in running.items():
            grace_s = ladders[name].grace_s
            code = self._wait_for_script(name, child, begun, grace_s)
            if ladders[name].instead and code == 0:
                spared.add(name)
            elif code is None:
                self._say(name, f"its stop script did not end within {grace_s:g} s and was killed")
            elif code and not ladders[name].instead:  # there it means: send the signal
                self._say(name, f"its stop script failed ({scripts.describe_code(code)})")
        return spared

    def _start_following(
        self, programs: Sequence[ObservedProgram], ladders: Mapping[str, Ladder]
    ) -> list[tuple[subprocess.Popen[bytes], float]]:
        """The scripts that follow the signal, ``control/d`` or ``control/x``, and when each has to have ended."""
        started = []
        for program in programs:
            script = ladders[program.name].control(self._then) if self._then and program.pid is not None else None
            if script is not None:
                child = self._start_script(program.name, script)
                if child is not None:
                    started.append((child, clock.now() + ladders[program.name].grace_s))
        return started

    def _start_script(self, name: str, script: str) -> subprocess.Popen[bytes] | None:
        """``None`` where the machine has no room for one more process: the signal stops the program all the same."""
        try:
            return scripts.start_script([script], self._box.program_log(name), self._mark, append=True)
        except OSError as error:
            self._say(name, f"its stop script can't be started: {error.strerror or error}")
            return None

    def _wait_until_drained(self, ladders: Iterable[Ladder]) -> None:
        """The last words of a program that has ended are for its logger to read."""
        begun = clock.now()
        for ladder in ladders:
            if ladder.pipe is not None:
                while not pipes.is_drained(ladder.pipe) and clock.now() < begun + ladder.grace_s:
                    clock.sleep(_FIRST_POLL_S)

    def _wait_for_script(self, name: str, child: subprocess.Popen[bytes], begun: float, grace_s: float) -> int | None:
        if grace_s > _WORTH_SAYING_S:
            code = scripts.wait_until_ended(child, begun + _WORTH_SAYING_S, kill=False)
            if code is not None:
                return code
            rest = max(0.0, begun + grace_s - clock.now())
            self._say(name, f"still stopping: its stop script runs (pid {child.pid}); it has {rest:.0f} s more")
        return scripts.wait_until_ended(child, begun + grace_s)

    def _wait_until_down(self, programs: Sequence[ObservedProgram], ladders: Mapping[str, Ladder]) -> None:
        """Poll until the hold says so; KILL for what belongs to a program when its grace is over."""
        names = {program.name for program in programs}
        begun = clock.now()
        interval = _FIRST_POLL_S
        told: set[str] = set()
        while left := [p for p in self._hold.living(names) if p.name not in self.stuck]:
            waited = clock.now() - begun
            if waited > _WORTH_SAYING_S:
                self._tell([p for p in left if p.name not in told], ladders, waited)
                told.update(p.name for p in left)
            self._kill([p for p in left if waited > ladders[p.name].grace_s])
            for program in left:
                if waited > ladders[program.name].patience_s:
                    words = f"{program.name} (pid {program.pid})"
                    self.stuck[program.name] = processes.describe_stuck([words])
            clock.sleep(interval)
            interval = min(_SLOWEST_POLL_S, interval * 1.3)

    def _tell(self, programs: Sequence[ObservedProgram], ladders: Mapping[str, Ladder], waited: float) -> None:
        for program in programs:
            ladder = ladders[program.name]
            rest = max(0.0, ladder.grace_s - waited)
            why = "" if program.pid is None else f", {processes.why_it_stays(program.pid, ladder.signal)}"
            self._say(program.name, f"still stopping (pid {program.pid}{why}); KILL follows in {rest:.0f} s")

    def _kill(self, programs: Sequence[ObservedProgram]) -> None:
        """KILL main processes and what shares their groups; the rest of their trees follows with the leftovers."""
        pids = {program.pid for program in programs if program.pid is not None}
        if not pids:
            return
        victims = [p for p in processes.read_marked(self._box) if p.pid in pids or p.group in pids]
        processes.kill(victims)

    def _end_leftovers(self, programs: Sequence[ObservedProgram], ladders: Mapping[str, Ladder]) -> None:
        names = {program.name for program in programs} - self.stuck.keys()
        groups = {program.pid for program in programs if program.pid is not None and program.name in names}

        def find() -> list[processes.Marked]:
            marked = processes.read_marked(self._box)
            return [process for process in marked if process.program in names or process.group in groups]

        stuck = processes.end_all(find, grace_s=max(ladder.grace_s for ladder in ladders.values()))
        if cgroups.kill_left(self._box, names):  # it forks so fast that it was not found
            stuck = processes.end_all(find, grace_s=0.0)
        by_group = {program.pid: program.name for program in programs}
        for process in stuck:
            name = process.program or by_group.get(process.group, "")
            self.stuck[name] = processes.describe_stuck([f"{name} (pid {process.pid})"])
