"""What bootstrap adds to supervisord from inside, through its documented ``[rpcinterface:x]`` hook.

- *Wake*: signals and state changes end the main loop's one-second poll at once.
- *One tree*: what a crashed program leaves in its process group is killed before it is started again.
- *Ledger*: the last starts and exits of every program with code, signal and cause, which supervisord forgets.
- *Policy*: restarts with a growing delay, and ``failed`` when a program starts too often inside its window.
- *Waves*: a bare SIGTERM stops programs by priority, each priority in parallel.
- *Spawn*: children are spawned without a copy of supervisord first (it forks 25 MB for each), with default signal
  dispositions, which a child of Python otherwise lacks, and nothing on standard input.
- *observe*, *update*: one small answer about everything; new sections without reading all the others again.

Internals of supervisor 4.3 that this file touches, pinned by ``tests/world/test_plugin_internals.py``:
``Supervisor``: options, process_groups, stop_groups, ordered_stop_groups_phase_1/2, add_process_group,
remove_process_group · ``ServerOptions``: fork, waitpid, pidhistory, poller.poll, get_socket_map, mood,
process_groups_from_parser, process_group_configs · ``Subprocess``: get_execv_args, pipes, backoff, delay, state, pid,
config, group, change_state · ``events.subscribe`` · ``UnhosedConfigParser``. Nothing here may raise into the main loop.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections import deque
from typing import Any

from supervisor import events
from supervisor.options import UnhosedConfigParser
from supervisor.process import Subprocess
from supervisor.states import ProcessStates, SupervisorStates
from supervisor.xmlrpc import Faults, RPCError

FIELDS = ("name", "fingerprint", "state", "pid", "age_s", "started_at", "restarts", "deaths", "last_exit")
LEDGER_LENGTH = 20
FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 30.0
DEFAULT_WINDOW_S = 60.0
DEFAULT_STARTS = 5


def make_rpcinterface(supervisord: Any, **_settings: str) -> Plugin:
    """Called by supervisord for every ``[rpcinterface:bootstrap]``."""
    return Plugin(supervisord)


class Record:
    """What is remembered about one program while supervisord lives."""

    def __init__(self) -> None:
        self.starts: deque[float] = deque(maxlen=64)  # monotonic
        self.exits: deque[dict[str, Any]] = deque(maxlen=LEDGER_LENGTH)
        self.restarts = 0
        self.deaths = 0  # since it was last started by hand or by `up`
        self.started_at = 0.0  # wall clock, for people
        self.started = 0.0  # monotonic
        self.window_s = DEFAULT_WINDOW_S
        self.allowed = DEFAULT_STARTS
        self.due = 0.0  # monotonic time of the next restart, 0 for none


class Plugin:
    """The RPC namespace ``bootstrap``; public methods without underscore are callable over the socket."""

    def __init__(self, supervisord: Any) -> None:
        self._supervisord = supervisord
        self._records: dict[str, Record] = {}
        self._statuses: dict[int, int] = {}
        self._turns = 1  # how many polls must not wait, because something has happened
        _Wake(self)
        self._shorten_polls()
        self._keep_exit_statuses()
        self._stop_in_waves()
        _spawn_without_fork(self._supervisord.options)
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
        record = self._record(group.config.name)
        return [
            group.config.name,
            process.config.name,
            process.state,
            process.pid,
            round(now - record.started, 3) if process.pid else 0.0,
            record.started_at if process.pid else None,
            record.restarts,
            record.deaths,
            record.exits[-1] if record.exits else None,
        ]

    def ledger(self, name: str) -> str:
        """The last exits of one program, oldest first, as JSON."""
        return json.dumps(list(self._record(name).exits))

    def update(self, sections: str, removed: list[str], policies: dict[str, list[Any]]) -> bool:
        """Remove stopped groups, then add the programs of these INI sections.

        ``policies`` maps names to a window in seconds and the starts that are allowed inside it.
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
        for name, (window_s, starts) in policies.items():
            self._record(name).window_s = float(window_s)
            self._record(name).allowed = int(starts)
        for name in set(removed) - {group.name for group in added}:
            self._records.pop(name, None)
        return True

    def forgive(self, names: list[str]) -> bool:
        """Forget how often these were started: somebody starts them on purpose."""
        for name in names:
            record = self._record(name)
            record.starts.clear()
            record.deaths = 0
            record.restarts = 0
        return True

    # what happens inside

    def _record(self, name: str) -> Record:
        return self._records.setdefault(name, Record())

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
        record = self._record(process.group.config.name)
        match process.state:
            case ProcessStates.STARTING:
                self._note_start(record, event)
            case ProcessStates.STOPPED:
                record.due = 0.0
                if event.from_state == ProcessStates.STOPPING:
                    self._note_exit(record, process, "stopped")
            case ProcessStates.EXITED:
                _end_group(process.pid)
                self._note_exit(record, process, None)
                process.change_state(ProcessStates.BACKOFF)  # comes back here: one place decides about restarts
            case ProcessStates.BACKOFF:
                if event.from_state != ProcessStates.EXITED:
                    _end_group(process.pid)
                    self._note_exit(record, process, None)
                self._plan_restart(record, process)
            case _:
                pass

    def _note_start(self, record: Record, event: Any) -> None:
        record.started = time.monotonic()
        record.started_at = time.time()
        record.starts.append(record.started)
        record.due = 0.0
        if event.from_state == ProcessStates.BACKOFF:
            record.restarts += 1

    def _note_exit(self, record: Record, process: Any, cause: str | None) -> None:
        status = self._statuses.pop(process.pid, None) if process.pid else None
        code, number = _decode(status)
        if status is None:
            cause = "not spawned"
        elif cause is None:
            cause = "signal" if number else "exited"
        elif number == signal.SIGKILL:
            cause = "killed"  # it did not heed the stop signal in time
        record.deaths += 1
        record.exits.append(
            {
                "code": code,
                "signal": signal.Signals(number).name if number else None,
                "cause": cause,
                "at": time.time(),
                "lived_s": round(time.monotonic() - record.started, 3),
                "fingerprint": process.config.name,
            }
        )

    def _plan_restart(self, record: Record, process: Any) -> None:
        now = time.monotonic()
        recent = sum(1 for start in record.starts if now - start < record.window_s)
        if recent >= record.allowed:
            process.backoff = process.config.startretries + 1  # supervisord's own way to FATAL
            return
        delay = 0.0 if recent <= 1 else min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** (recent - 2))
        process.backoff = 0
        process.delay = time.time() + delay - 0.001  # the comparison is strict
        record.due = now + delay

    def _shorten_polls(self) -> None:
        poller = self._supervisord.options.poller
        poll = poller.poll

        def poll_until_due(timeout: float) -> Any:
            if self._turns:
                self._turns -= 1
                return poll(0)
            due = [record.due for record in self._records.values() if record.due]
            if due:
                timeout = min(timeout, max(0.0, min(due) - time.monotonic() + 0.002))
            return poll(timeout)

        poller.poll = poll_until_due

    def _keep_exit_statuses(self) -> None:
        options = self._supervisord.options
        waitpid = options.waitpid

        def waitpid_and_remember() -> Any:
            pid, status = waitpid()
            if pid in options.pidhistory:
                self._statuses[pid] = status
            return pid, status

        options.waitpid = waitpid_and_remember

    def _stop_in_waves(self) -> None:
        supervisord = self._supervisord

        def stop_last_wave() -> None:
            for group in _last_wave(supervisord.stop_groups):
                group.stop_all()

        def forget_stopped() -> None:
            wave = _last_wave(supervisord.stop_groups)
            gone = {id(group) for group in wave if not group.get_unstopped_processes()}  # groups are equal by priority
            supervisord.stop_groups = [group for group in supervisord.stop_groups or () if id(group) not in gone]
            if gone:
                self._stir()

        supervisord.ordered_stop_groups_phase_1 = stop_last_wave
        supervisord.ordered_stop_groups_phase_2 = forget_stopped


def _spawn_without_fork(options: Any) -> None:
    """Make ``options.fork`` start the child itself; ``Subprocess.spawn`` then goes on as the parent that it is."""
    get_execv_args = Subprocess.get_execv_args
    next_child: list[tuple[Any, str, list[str]]] = []

    def get_and_remember(process: Any) -> tuple[str, list[str]]:
        filename, arguments = get_execv_args(process)
        next_child[:] = [(process, filename, arguments)]
        return filename, arguments

    def spawn() -> int:
        process, filename, arguments = next_child.pop()
        return os.posix_spawn(
            filename,
            arguments,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, process.pipes["child_stdout"], 1),
                (os.POSIX_SPAWN_DUP2, process.pipes["child_stdout"], 2),
            ],
            setpgroup=0,
            setsigmask=[],
            setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
        )

    Subprocess.get_execv_args = get_and_remember
    options.fork = spawn


class _Wake:
    """A descriptor in supervisord's own poll set that every signal writes to.

    One turn of the main loop handles one signal, so as many turns must follow at once as signals came.
    """

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin
        self._read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        plugin._supervisord.options.get_socket_map()[self._read] = self  # noqa: SLF001 - two halves of one thing

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        try:
            signals = os.read(self._read, 4096)
        except BlockingIOError:
            return
        self._plugin._stir(len(signals) + 1)  # noqa: SLF001 - likewise

    def handle_error(self) -> None:
        """supervisord calls this for every dispatcher; there is nothing to close."""


def _end_group(pid: int) -> None:
    """A leader has died of itself: what it has left in its group must not stand beside its successor."""
    if pid:
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)


def _last_wave(groups: Any) -> list[Any]:
    """The groups with the highest priority: those that nothing still running needs."""
    if not groups:
        return []
    highest = max(group.config.priority for group in groups)
    return [group for group in groups if group.config.priority == highest]


def _decode(status: int | None) -> tuple[int | None, int]:
    """A wait status → exit code and signal number, as in wait(2)."""
    if status is None:
        return None, 0
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), 0
