"""The supervisord that lives: ask it, tell it. How one is started is in ``starting.py``.

It is driven over its socket only. Nothing waits inside the daemon (its own waiting calls spin or stall): calls return
at once, and whoever wants to wait polls ``observe``, which also wakes the daemon's loop.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from bootstrap import ini
from bootstrap.errors import DefinitionError, Unavailable
from bootstrap.observed import LastExit, Observed, ObservedProgram, State
from bootstrap.spelling import quoted
from bootstrap.world import clock, disk
from bootstrap.world.rpc import Connection, Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bootstrap.box import Box
    from bootstrap.rendering import Unit

NOTHING = Observed(daemon=None)  # what is observed where no supervisor lives
RPC_TIMEOUT_S = 15.0  # supervisord answers in milliseconds; a stopped one never does
STOP_TIMEOUT_S = 20.0
_FRESH_S = 1.0
# supervisor.states.ProcessStates; EXITED is on its way to BACKOFF or, without the plug-in, to its restart
_STATES: dict[int, State] = {
    0: "stopped",
    10: "starting",
    20: "running",
    30: "backoff",
    40: "stopping",
    100: "backoff",
    200: "failed",
    1000: "failed",
}
_OBSERVE = "bootstrap.observe"
_RUNNING = 1  # supervisor.states.SupervisorStates
_UNKNOWN_METHOD = 1  # supervisor.xmlrpc.Faults
_BAD_NAME = 10
_DIED_OR_RUNS = frozenset({40, 50, 60})  # ABNORMAL_TERMINATION, SPAWN_ERROR, ALREADY_STARTED
_NOT_RUNNING = 70


def connect(box: Box) -> Supervisor | None:
    """The supervisor of this box, ``None`` if there is none."""
    try:
        return Supervisor(Connection(box.socket, _read_timeout()), box)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unavailable(
            f"cannot reach supervisord at {box.socket}: {error.strerror or error}\n"
            "  way out: run as the user that started it"
        ) from error


def _read_timeout() -> float:
    typed = os.environ.get("BOOTSTRAP_RPC_TIMEOUT", str(RPC_TIMEOUT_S))
    if not typed.replace(".", "", 1).isdecimal() or float(typed) <= 0:
        raise DefinitionError(
            f"cannot use BOOTSTRAP_RPC_TIMEOUT {quoted(typed)}: should be a number of seconds above 0\n"
            "  way out: correct or unset the variable"
        )
    return float(typed)


def write_programs(box: Box, units: tuple[Unit, ...]) -> None:
    """Write the programs of a generation, which supervisord's file includes."""
    disk.write_for_this_boot(f"{box.run}/{ini.PROGRAMS}", ini.render_programs(units).encode())


class Supervisor:
    """A connection to the running supervisord."""

    def __init__(self, connection: Connection, box: Box) -> None:
        self._connection = connection
        self._box = box
        self._asked_at: float | None = None

    @property
    def pid(self) -> int:
        return self._connection.peer_pid

    def close(self) -> None:
        self._connection.close()

    def is_up(self) -> bool:
        """Whether it takes orders; it does not while it shuts down. Raises Unavailable when it says nothing."""
        try:
            state: dict[str, Any] = self._connection.call("supervisor.getState")
        except Fault:
            return False  # all that it answers while it shuts down
        except Unavailable as error:
            if isinstance(error.__cause__, ConnectionError):
                return False  # it has closed the connection: it is on its way out
            raise
        return bool(state["statecode"] == _RUNNING)

    def begin_observing(self) -> None:
        """Ask what runs, and fetch the answer with the next ``observe``: the daemon works on it meanwhile."""
        self._connection.ask(_OBSERVE, [])
        self._asked_at = clock.now()

    def observe(self, names: Iterable[str] = ()) -> Observed:
        """What runs now: these programs, or all."""
        wanted = list(names)
        try:
            if self._asked_at is None:
                self._connection.ask(_OBSERVE, wanted)
            elif clock.now() > self._asked_at + _FRESH_S:
                self._connection.answer()  # too old to act on
                self._connection.ask(_OBSERVE, wanted)
            self._asked_at = None
            answer = self._connection.answer()
        except Fault as fault:
            if fault.code != _UNKNOWN_METHOD:
                raise _unavailable("ask", fault) from fault
            return _observe_plainly(self._connection, wanted)
        return self._parse(answer)

    def _parse(self, answer: Any) -> Observed:
        """Raises Unavailable for what is not our plug-in's: it may be another version's, or a stranger's."""
        try:
            raw = json.loads(answer)
            programs = (dict(zip(raw["fields"], row, strict=True)) for row in raw["rows"])
            return Observed(daemon=raw["pid"], programs=tuple(_parse_program(program) for program in programs))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise Unavailable(
                f"cannot understand supervisord at {self._box.socket}: {type(error).__name__}: {error}\n"
                '  way out: "bootstrap down" ends it, and "bootstrap up" starts it anew'
            ) from error

    def update(self, added: tuple[Unit, ...], removed: Iterable[str], everything: tuple[Unit, ...]) -> None:
        """Make the stopped programs ``removed`` unknown and ``added`` known; ``everything`` is the whole generation."""
        write_programs(self._box, everything)
        names = sorted({*removed, *(unit.name for unit in added)})
        try:
            self._connection.call("bootstrap.update", ini.render_programs(added), names, _policies(added))
        except Fault as fault:
            if fault.code != _UNKNOWN_METHOD:
                raise _unavailable("change", fault) from fault
            self._update_plainly(names, [unit.name for unit in added])

    def adopt_policies(self, units: tuple[Unit, ...]) -> None:
        """Tell a supervisor that has just read its file what the file can't say."""
        try:
            self._connection.call("bootstrap.update", "", [], _policies(units))
        except Fault as fault:
            if fault.code != _UNKNOWN_METHOD:
                raise _unavailable("change", fault) from fault

    def start(self, units: Iterable[Unit], generation: str) -> dict[str, str]:
        """Start programs without waiting; the answer names those that could not be started, with the cause.

        One that has died already was started: its exit says more than supervisord's fault does.
        """
        units = tuple(units)
        names = [unit.name for unit in units]
        calls: list[tuple[str, tuple[Any, ...]]] = [
            ("supervisor.startProcess", (f"{unit.name}:{unit.fingerprint}", False)) for unit in units
        ]
        answers = self._connection.call_all([("bootstrap.forgive", (names, generation)), *calls])
        return {
            name: answer.text
            for name, answer in zip(names, answers[1:], strict=True)
            if isinstance(answer, Fault) and answer.code not in _DIED_OR_RUNS
        }

    def stop(self, programs: Iterable[ObservedProgram]) -> None:
        """Send the stop signal to programs, without waiting."""
        self._each("supervisor.stopProcess", {f"{p.name}:{p.fingerprint}": (False,) for p in programs})

    def signal(self, programs: Iterable[ObservedProgram], name: str) -> None:
        """Send a signal to the main process of programs."""
        self._each("supervisor.signalProcess", {f"{p.name}:{p.fingerprint}": (name,) for p in programs})

    def control(self, name: str, letters: str) -> bool:
        """Ask a program for letters of runsv(8); False where our plug-in is not there to heed them."""
        return self._ask_plugin("bootstrap.control", name, letters)

    def want(self, names: Iterable[str], want: str) -> None:
        """Say whether these are to be started again when they end ("u", "d"), or ("") that nobody says so any more."""
        self._ask_plugin("bootstrap.want", list(names), want)

    def _ask_plugin(self, method: str, *arguments: Any) -> bool:
        try:
            self._connection.call(method, *arguments)
        except Fault as fault:
            if fault.code != _UNKNOWN_METHOD:
                raise _unavailable("ask", fault) from fault
            return False
        return True

    def shut_down(self) -> None:
        """End supervisord, and wait for its end. Stop the programs first: its own way says nothing meanwhile."""
        from bootstrap.world import processes  # noqa: PLC0415 - only for the end

        pid = self.pid
        try:
            self._connection.call("supervisor.shutdown")
        except Fault:
            pass  # it is going down already
        except Unavailable as error:
            if not isinstance(error.__cause__, ConnectionError):  # else it has gone down without a word
                raise
        finally:
            self._connection.close()
        if not processes.wait_until_ended(pid, STOP_TIMEOUT_S):
            raise Unavailable(
                f"cannot end supervisord (pid {pid}): it did not stop within {STOP_TIMEOUT_S:.0f} s\n"
                "  way out: run the command again"
            )

    def _each(self, method: str, parameters: Mapping[str, tuple[Any, ...]]) -> None:
        answers = self._connection.call_all([(method, (name, *rest)) for name, rest in parameters.items()])
        faults = [a for a in answers if isinstance(a, Fault) and a.code not in {_NOT_RUNNING, _BAD_NAME}]
        if faults:
            raise _unavailable("change", faults[0])

    def _update_plainly(self, removed: list[str], added: list[str]) -> None:
        """The same with supervisord's own calls, which read every section anew."""
        try:
            self._connection.call("supervisor.reloadConfig")
        except Fault as fault:
            raise _unavailable("change", fault) from fault
        calls: list[tuple[str, tuple[Any, ...]]] = [("supervisor.removeProcessGroup", (name,)) for name in removed]
        calls += [("supervisor.addProcessGroup", (name,)) for name in added]
        for answer in self._connection.call_all(calls):
            if isinstance(answer, Fault) and answer.code != _BAD_NAME:
                raise _unavailable("change", answer)


def _policies(units: tuple[Unit, ...]) -> dict[str, list[int]]:
    """By program: the restart window in seconds, the starts in it, and whether stopping it sends no signal."""
    return {
        unit.name: [max(1, round(unit.restart_window_s)), unit.restart_starts, int(unit.stop_instead)] for unit in units
    }


def _observe_plainly(connection: Connection, wanted: list[str]) -> Observed:
    pid, programs = connection.call_all([("supervisor.getPID", ()), ("supervisor.getAllProcessInfo", ())])
    return Observed(
        daemon=pid,
        programs=tuple(
            _parse_program(
                {
                    "name": info["group"],
                    "fingerprint": info["name"],
                    "state": info["state"],
                    "pid": info["pid"],
                    "age_s": max(0, info["now"] - info["start"]) if info["pid"] else 0.0,
                    "started_at": info["start"] if info["pid"] else None,
                    "restarts": 0,
                    "deaths": 0 if info["state"] in {10, 20} else 2,
                    "last_exit": None,
                }
            )
            for info in programs
            if not wanted or info["group"] in wanted
        ),
    )


def _parse_program(raw: dict[str, Any]) -> ObservedProgram:
    last = raw["last_exit"]
    return ObservedProgram(
        name=raw["name"],
        fingerprint=raw["fingerprint"],
        state=_STATES[raw["state"]],
        pid=raw["pid"] or None,
        age_s=raw["age_s"],
        started_at=raw["started_at"],
        restarts=raw["restarts"],
        deaths=raw["deaths"],
        last_exit=last and LastExit(code=last["code"], signal=last["signal"], cause=last["cause"], at=last["at"]),
        log_start=tuple(raw.get("log_start") or (None, 0)),
        finishing=raw.get("finishing", False),
        want=raw.get("want"),
        paused=raw.get("paused", False),
        got_term=raw.get("got_term", raw["state"] == 40),
    )


def _unavailable(verb: str, fault: Fault) -> Unavailable:
    return Unavailable(
        f"cannot {verb} supervisord: {fault}\n  way out: run the command again; see log/supervisord.log if it stays so"
    )
