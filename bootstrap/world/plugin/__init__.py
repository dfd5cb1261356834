"""What bootstrap adds to supervisord from inside, through its documented ``[rpcinterface:x]`` hook.

- *Wake*: signals and state changes end the main loop's one-second poll at once.
- *One tree*: what a crashed program leaves behind is killed, and seen to be gone, before it is started again.
- *Ledger*: every start and exit of a program with code, signal and cause, on disk; supervisord forgets them.
- *Policy*: restarts with a growing delay, and ``failed`` when a program starts too often inside its window.
- *Time*: supervisord waits by a clock that never jumps, whatever is done to the time of day.
- *Waves*: a bare SIGTERM stops programs by the whole ladder, by priority, each priority in parallel (``shutdown.py``).
- *Spawn*: children are spawned without a copy of supervisord first (it forks 25 MB for each), with default signal
  dispositions, which a child of Python otherwise lacks, and nothing on standard input.
- *Logs*: a disk that takes no more costs lines, not programs (``log_files.py``).
- *Letters*: what runit's ``sv`` asks of programs, as runsv heeds it (``letters.py``).
- *observe*, *update*: one small answer about everything; new sections without reading all the others again.

Internals of supervisor 4.3 that these files touch, pinned by ``tests/world/test_plugin_internals.py``:
``Supervisor``: options, process_groups, stop_groups, ordered_stop_groups_phase_1/2, shutdown_report,
add_process_group, remove_process_group · ``ServerOptions``: fork, waitpid, pidhistory, poller.poll, get_socket_map,
mood, process_groups_from_parser, process_group_configs · ``Subprocess``: get_execv_args, spawn, stop, pipes, backoff,
delay, state, pid, config, group, change_state, _check_and_adjust_for_system_clock_rollback ·
``POutputDispatcher``: _init_normallog · ``RotatingFileHandler``: doRollover, stream, baseFilename ·
``supervisor.process.time`` · ``events.subscribe`` · ``UnhosedConfigParser`` ·
``deferring_http_channel``: ac_out_buffer_size. Nothing here may raise into the main loop.
"""

from __future__ import annotations

from typing import Any

from bootstrap.world.plugin.interface import Plugin


def make_rpcinterface(supervisord: Any, **_settings: str) -> Plugin:
    """Called by supervisord for every ``[rpcinterface:bootstrap]``."""
    return Plugin(supervisord)
