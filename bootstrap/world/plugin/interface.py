"""The plug-in itself: what can be called over the socket, and what happens when a program starts or ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import time
from typing import Any

from supervisor import events
from supervisor.http import deferring_http_channel
from supervisor.options import UnhosedConfigParser
from supervisor.states import ProcessStates, SupervisorStates
from supervisor.xmlrpc import Faults, RPCError

from bootstrap.box import Box
from bootstrap.launcher import CGROUP
from bootstrap.world import cgroups, ledger_file, logs
from bootstrap.world.plugin.letters import LETTERS, Letters
from bootstrap.world.plugin.log_files import log_what_can_be_logged
from bootstrap.world.plugin.memory import Memory
from bootstrap.world.plugin.record import Record, decode_status
from bootstrap.world.plugin.remains import Remains
from bootstrap.world.plugin.shutdown import LOOK_AGAIN_S, Shutdown, spawn_script
from bootstrap.world.plugin.spawning import spawn_without_fork
from bootstrap.world.plugin.steady_time import keep_steady_time
from bootstrap.world.plugin.wake import Wake

FIELDS = (
    *("name", "fingerprint", "state", "pid", "age_s", "started_at", "restarts", "deaths", "last_exit", "log_start"),
    *("finishing", "want", "paused", "got_term"),
)
FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 30.0
_NEVER_S = 1e9
_MOST_AT_ONCE = 65536  # bytes of an answer


class Plugin:
    """The RPC namespace ``bootstrap``; public methods without underscore are callable over the socket."""

    def __init__(self, supervisord: Any) -> None:
        self._supervisord = supervisord
        self._box = Box(root="", state=os.path.dirname(os.getcwd()))  # supervisord stands in the run directory
        self._generation: str | None = None  # that somebody is putting in force
        self._records: dict[str, Record] = {}
        self._statuses: dict[int, int] = {}  # of programs that have ended
        self._strangers: dict[int, int] = {}  # of whatever else has ended
        self._cgroup = os.environ.get(CGROUP)
        self._memory = Memory(self._cgroup)
        self._remains = Remains(supervisord.options, self._cgroup)
        self._finishing: dict[int, Any] = {}  # pid of a `finish` → the process that has ended
        self._shutdown = Shutdown(supervisord, self._box, self._strangers.get, self._is_finishing)
        self._letters = Letters(supervisord, self._box, self._strangers.get, self._is_finishing, self._forgive)
        self._time = keep_steady_time()
        self._turns = 1  # how many polls must not wait, because something has happened
        Wake(supervisord.options, self._stir)
        self._shorten_polls()
        self._keep_exit_statuses()
        self._stop_in_waves()
        spawn_without_fork(self._supervisord.options, self._refuse_a_second, self._note_pid)
        # It sends 4 KiB in each round of its main loop, and in each round it looks at all programs.
        deferring_http_channel.ac_out_buffer_size = _MOST_AT_ONCE
        log_what_can_be_logged(self._supervisord.options)
        events.subscribe(events.ProcessStateEvent, self._on_state)

    # what can be called

    def observe(self, names: list[str]) -> str:
        """Everything about these programs (all, if none is named), as JSON: small to send and quick to read."""
        now = time.monotonic()
        groups = self._supervisord.process_groups
        chosen = [groups[name] for name in names if name in groups] if names else groups.values()
        rows = [self._row(group, process, now) for group in chosen for process in group.processes.values()]
        return json.dumps({"pid": os.getpid(), "fields": FIELDS, "rows": rows})

    def _row(self, group: Any, process: Any, now: float) -> list[Any]:
        name = group.config.name
        record = self._record(name)
        pid = process.pid or record.finishing
        is_stopping = record.finishing or (not process.pid and self._letters.is_stopping(name))
        state = ProcessStates.STOPPING if is_stopping else process.state
        got_term = self._letters.got_term(name)
        return [
            name,
            process.config.name,
            state,
            pid,
            round(now - record.started, 3) if pid else 0.0,
            record.started_at if process.pid else None,
            record.restarts,
            record.deaths,
            record.last_exit,
            (record.log_start.inode, record.log_start.offset),
            bool(record.finishing),
            self._letters.want(name),
            self._letters.is_paused(name),
            state == ProcessStates.STOPPING and not record.finishing if got_term is None else got_term,
        ]

    def update(self, sections: str, removed: list[str], policies: dict[str, list[Any]]) -> bool:
        """Remove stopped groups, then add the programs of these INI sections.

        ``policies`` maps names to a window in seconds, the starts that are allowed inside it, and whether a stop
        sends no signal: then whoever asks for it sends one, unless a script has stood for it.
        """
        supervisord = self._supervisord
        if supervisord.options.mood < SupervisorStates.RUNNING:
            raise RPCError(Faults.SHUTDOWN_STATE)
        parser = UnhosedConfigParser()
        parser.expansions = supervisord.options.environ_expansions
        parser.read_string(sections)
        added = supervisord.options.process_groups_from_parser(parser)
        for name in removed:
            if name in supervisord.process_groups and not supervisord.remove_process_group(name):
                raise RPCError(Faults.STILL_RUNNING, name)
        gone = {*removed, *(group.name for group in added)}
        kept = [group for group in supervisord.options.process_group_configs if group.name not in gone]
        supervisord.options.process_group_configs = [*kept, *added]
        for group in added:
            if not supervisord.add_process_group(group):
                raise RPCError(Faults.ALREADY_ADDED, group.name)
        for name, (window_s, starts, *more) in policies.items():
            self._record(name).window_s = float(window_s)
            self._record(name).allowed = int(starts)
            if any(more) and name in supervisord.process_groups:
                for process in supervisord.process_groups[name].processes.values():
                    process.config.stopsignal = 0  # kill(2) sends nothing then
        for name in set(removed) - {group.name for group in added}:
            self._records.pop(name, None)
            self._letters.forget(name)
        return True

    def forgive(self, names: list[str], generation: str) -> bool:
        """Forget how often these were started: somebody starts them on purpose, as part of this generation."""
        self._generation = generation
        for name in names:
            self._forgive(name)
            self._letters.set_want(name, None)
        return True

    def control(self, name: str, letters: str) -> bool:
        """Ask a program for these letters of runsv(8), without waiting for any of them."""
        if name not in self._supervisord.process_groups or not LETTERS.issuperset(letters):
            raise RPCError(Faults.BAD_NAME, name)
        if self._supervisord.options.mood < SupervisorStates.RUNNING:
            raise RPCError(Faults.SHUTDOWN_STATE)
        self._generation = self._read_current()
        self._letters.send(name, letters)
        self._stir()
        return True

    def want(self, names: list[str], want: str) -> bool:
        """Remember whether these are to be started again when they end: "u" or "d", "" for nobody has said."""
        for name in names:
            self._letters.set_want(name, want or None)
        return True

    # what happens inside

    def _record(self, name: str) -> Record:
        if name not in self._records:
            self._records[name] = Record(ledger_file.read_lives(self._box, name))
        return self._records[name]

    def _forgive(self, name: str) -> None:
        record = self._record(name)
        record.starts.clear()
        record.deaths = 0
        record.restarts = 0

    def _stir(self, turns: int = 1) -> None:
        self._turns = max(self._turns, turns)

    def _on_state(self, event: Any) -> None:
        self._stir()
        try:
            self._note(event)
        except Exception:  # noqa: BLE001 - supervision must go on whatever we did wrong; the log has the traceback
            import traceback  # noqa: PLC0415 - never needed when all is well

            self._supervisord.options.logger.critical(traceback.format_exc())

    def _note(self, event: Any) -> None:
        process = event.process
        name = process.group.config.name
        record = self._record(name)
        match process.state:
            case ProcessStates.STARTING:
                self._note_start(record, event)
                self._letters.note_start(name)
            case ProcessStates.STOPPED:
                record.due = 0.0
                if event.from_state == ProcessStates.STOPPING:
                    self._begin_finish(record, process, self._note_exit(record, process, "stopped"))
            case ProcessStates.EXITED:
                self._remains.end(process)
                self._begin_finish(record, process, self._note_exit(record, process, None))
                # comes back here: one place decides about restarts
                process.change_state(ProcessStates.STOPPED if self._is_to_end(name) else ProcessStates.BACKOFF)
            case ProcessStates.BACKOFF:
                if event.from_state != ProcessStates.EXITED:
                    self._remains.end(process)
                    self._begin_finish(record, process, self._note_exit(record, process, None))
                if self._is_to_end(name):
                    process.change_state(ProcessStates.STOPPED)
                else:
                    self._plan_restart(record, process)
            case _:
                pass

    def _is_to_end(self, name: str) -> bool:
        """Whether what has ended stays so: somebody wants it down, or is stopping it and will start it."""
        return self._letters.want(name) == "d" or self._letters.is_stopping(name)

    def _note_start(self, record: Record, event: Any) -> None:
        record.started = time.monotonic()
        record.started_at = time.time()
        record.log_start = logs.read_end(self._box.program_log(event.process.group.config.name))
        record.starts.append(record.started)
        record.due = 0.0
        record.by_itself = event.from_state == ProcessStates.BACKOFF
        if record.by_itself:
            record.restarts += 1

    def _note_pid(self, process: Any, pid: int) -> None:
        """It has been spawned; supervisord says so before it knows the pid."""
        name = process.group.config.name
        record, current = self._record(name), self._read_current()
        if not record.by_itself:
            record.generation, record.current = self._generation, current
        elif current != record.current:  # it belongs to what has been put in force since
            record.generation, record.current = current, current
        generation = record.generation
        ledger_file.append(self._box, name, "start", pid=pid, fingerprint=process.config.name, generation=generation)

    def _read_current(self) -> str | None:
        try:
            return os.path.basename(os.readlink(self._box.current))
        except OSError:
            return None

    def _note_exit(self, record: Record, process: Any, cause: str | None) -> int | None:
        """The answer is the wait status, ``None`` for what could not be spawned."""
        status = self._statuses.pop(process.pid, None) if process.pid else None
        code, number = decode_status(status)
        if status is None:
            cause = "not spawned"
            self._note_pid(process, 0)
        elif cause is None:
            cause = self._tell_cause(process.group.config.name, number)
        elif number == signal.SIGKILL:
            cause = "killed"  # it did not heed the stop signal in time
        record.deaths += 1
        name = signal.Signals(number).name if number else None
        record.last_exit = {"code": code, "signal": name, "cause": cause, "at": time.time()}
        lived_s = round(time.monotonic() - record.started, 3)
        ledger_file.append(
            self._box, process.group.config.name, "exit", code=code, signal=name, cause=cause, lived_s=lived_s
        )
        return status

    def _begin_finish(self, record: Record, process: Any, status: int | None) -> None:
        """Run its `finish` with what runsv(8) says: the exit code, -1 after a signal; the last byte of the status."""
        name = process.group.config.name
        script = f"store/{name}-{process.config.name}/finish"
        if not os.path.exists(script):
            return
        code, _ = decode_status(status)
        words = ["111", "0"] if status is None else [str(-1 if code is None else code), str(status & 0xFF)]
        with contextlib.suppress(OSError):  # then there is none, as for runsv
            record.finishing = spawn_script(["/bin/sh", script, *words], self._box.program_log(name))
            self._finishing[record.finishing] = process
            self._letters.note_start(name)

    def _end_finish(self, pid: int) -> None:
        process = self._finishing.pop(pid)
        record = self._record(process.group.config.name)
        record.finishing = 0
        self._stir()
        if process.state == ProcessStates.BACKOFF:
            if self._is_to_end(process.group.config.name):
                process.change_state(ProcessStates.STOPPED)
            else:
                self._plan_restart(record, process)

    def _is_finishing(self, name: str) -> bool:
        return bool(self._record(name).finishing)

    def _refuse_a_second(self, process: Any) -> None:
        """Before a start: never a second copy beside what is left of the first. Raises OSError."""
        name = process.group.config.name
        if self._is_finishing(name):
            raise OSError(errno.EBUSY, "its `finish` still runs")
        if self._letters.is_stopping(name):
            raise OSError(errno.EBUSY, "it is being stopped")
        self._remains.refuse_beside(name)
        if self._cgroup:
            cgroups.make(self._cgroup, name)

    def _tell_cause(self, name: str, number: int) -> str:
        if number == signal.SIGKILL and self._memory.has_run_out(name):
            return "oom"
        return "signal" if number else "exited"

    def _plan_restart(self, record: Record, process: Any) -> None:
        now = time.monotonic()
        if record.finishing:
            process.backoff, record.due = 0, 0.0
            process.delay = self._time.time() + _NEVER_S
            return
        recent = sum(1 for start in record.starts if now - start < record.window_s)
        if recent >= record.allowed:
            process.backoff = process.config.startretries + 1  # supervisord's own way to FATAL
            return
        delay = 0.0 if recent <= 1 else min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** (recent - 2))
        process.backoff = 0
        process.delay = self._time.time() + delay - 0.001  # the comparison is strict
        record.due = now + delay

    def _shorten_polls(self) -> None:
        poller = self._supervisord.options.poller
        poll = poller.poll

        def poll_until_due(timeout: float) -> Any:
            longest = self._step_letters()
            if self._turns:
                self._turns -= 1
                return poll(0)
            if self._supervisord.options.mood < SupervisorStates.RUNNING:
                return poll(LOOK_AGAIN_S)
            if longest is not None:
                timeout = min(timeout, longest)
            due = [record.due for record in self._records.values() if record.due]
            if due:
                timeout = min(timeout, max(0.0, min(due) - time.monotonic() + 0.002))
            return poll(timeout)

        poller.poll = poll_until_due

    def _step_letters(self) -> float | None:
        try:
            longest = self._letters.step()
        except Exception:  # noqa: BLE001 - likewise
            import traceback  # noqa: PLC0415 - likewise

            self._supervisord.options.logger.critical(traceback.format_exc())
            return None
        if longest is None and self._supervisord.options.mood >= SupervisorStates.RUNNING:
            self._strangers.clear()
        return longest

    def _keep_exit_statuses(self) -> None:
        options = self._supervisord.options
        waitpid = options.waitpid

        def waitpid_and_remember() -> Any:
            pid, status = waitpid()
            if pid in options.pidhistory:
                self._statuses[pid] = status
            elif pid in self._finishing:
                self._end_finish(pid)
            elif pid and (options.mood < SupervisorStates.RUNNING or self._letters.is_busy):  # else nobody asks
                self._strangers[pid] = status
            return pid, status

        options.waitpid = waitpid_and_remember

    def _stop_in_waves(self) -> None:
        supervisord = self._supervisord
        report = supervisord.shutdown_report

        def step() -> None:
            try:
                self._shutdown.step()
            except Exception:  # noqa: BLE001 - then it goes on as supervisord would have without us
                import traceback  # noqa: PLC0415 - never needed when all is well

                supervisord.options.logger.critical(traceback.format_exc())
                supervisord.stop_groups = []
                self._shutdown.is_over = True
                for group in supervisord.process_groups.values():
                    group.stop_all()

        def report_until_over() -> Any:
            return report() or not self._shutdown.is_over

        supervisord.ordered_stop_groups_phase_1 = step
        supervisord.ordered_stop_groups_phase_2 = lambda: None
        supervisord.shutdown_report = report_until_over
