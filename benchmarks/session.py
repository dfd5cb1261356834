"""One contestant with so many services, from its first start to its end → samples.

Nothing else that we started runs meanwhile, so every process below us that is no service belongs to the contestant.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from measure import BenchmarkError, Ends, Opens, descendants, end_descendants, file_now_ns, now_ns, read_pss, run
from samples import Measured
from workload import Services, Stamp, write_services

if TYPE_CHECKING:
    from pathlib import Path

    from contestants import Contestant

Add = Callable[[Measured, float], None]

REPEATS = 3  # of what can be repeated within a session
_OLD_S = 1.1
_CRASHES = 5


def measure_session(kind: type[Contestant], directory: Path, count: int, add: Add) -> None:
    """Everything but slow stops."""
    services = write_services(directory, count, slow=False)
    contestant = kind(services)
    output = directory / "commands.out"
    try:
        stamps = _measure_start(contestant, services, add)
        _check_noop(contestant, services, stamps, add)
        for _ in range(REPEATS):
            add(Measured.NOOP, _duration_ms(partial(run, contestant.noop(), output)))
        for _ in range(REPEATS):
            add(Measured.STATUS, _duration_ms(partial(run, contestant.status(), output)))
        _measure_memory(stamps, add)
        for revision in range(1, REPEATS + 1):
            _measure_change(contestant, services, str(revision), add)
        _measure_crashes(services, add)
        _measure_stop(contestant, services, (Measured.STOP, Measured.DOWN), add)
    finally:
        end_descendants()


def measure_slow_stop(kind: type[Contestant], directory: Path, count: int, add: Add) -> None:
    """Only the stop, of services that take their time for it."""
    services = write_services(directory, count, slow=True)
    contestant = kind(services)
    try:
        contestant.write()
        contestant.start()
        services.wait_for_stamps()
        _measure_stop(contestant, services, (Measured.SLOW_STOP, Measured.SLOW_DOWN), add)
    finally:
        end_descendants()


def measure_recovery(kind: type[Contestant], directory: Path, count: int, add: Add) -> None:
    """The supervisor dies by KILL; whoever started it has to notice."""
    services = write_services(directory, count, slow=False)
    contestant = kind(services)
    try:
        contestant.write()
        contestant.start()
        for _ in range(REPEATS):
            before = services.wait_for_stamps()
            (supervisor,) = {descendants()[stamp.pid] for stamp in before.values()}
            begun_ns = now_ns()
            os.kill(supervisor, signal.SIGKILL)
            add(Measured.RECOVERY, (services.wait_for_successors(before) - begun_ns) / 1e6)
        contestant.stop()
    finally:
        end_descendants()


def _measure_start(contestant: Contestant, services: Services, add: Add) -> dict[str, Stamp]:
    contestant.write()
    begun_ns = file_now_ns()
    returned_ns = contestant.start()
    stamps = services.wait_for_stamps()
    last_ns = max(stamp.at_ns for stamp in stamps.values())
    add(Measured.COLD, (last_ns - begun_ns) / 1e6)
    if returned_ns is not None:
        add(Measured.READY, (max(last_ns, returned_ns) - begun_ns) / 1e6)
    return stamps


def _check_noop(contestant: Contestant, services: Services, before: dict[str, Stamp], add: Add) -> None:
    """What an apply of nothing touches. This one is not timed: being watched slows it down."""
    configuration = contestant.configuration()
    if configuration is None:
        run(contestant.noop(), services.directory / "commands.out")
    else:
        opens = Opens(configuration)
        imports = services.directory / "imports.out"
        run(contestant.noop(), imports, {"PYTHONPROFILEIMPORTTIME": "1"})
        was_read = opens.happened()
        if not was_read and not contestant.waits_until_ready:
            raise BenchmarkError("cannot see what supervisord reads: an update reads its file, and that went unnoticed")
        add(Measured.CONFIG_READS, float(was_read))
        add(Measured.BOTO3_IMPORTS, float("boto3" in _read_imports(imports)))
    add(Measured.NOOP_RESTARTS, float(len(_restarted(before, services.read_stamps()))))


def _read_imports(output: Path) -> set[str]:
    lines = output.read_text(encoding="utf-8").splitlines()
    found = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    if "site" not in found:
        raise BenchmarkError(f"cannot see what was imported: {output} does not say")
    return found


def _measure_memory(stamps: dict[str, Stamp], add: Add) -> None:
    every = descendants()
    services = {stamp.pid for stamp in stamps.values()}
    managers = every.keys() - services
    if not services <= every.keys():
        raise BenchmarkError(f"cannot measure memory: {len(services - every.keys())} services have died")
    add(Measured.DAEMON_MEMORY, read_pss(pid for pid in managers if every[pid] == os.getpid()))
    add(Measured.MANAGER_MEMORY, read_pss(managers))
    add(Measured.TOTAL_MEMORY, read_pss(every))
    add(Measured.MANAGERS, float(len(managers)))


def _measure_change(contestant: Contestant, services: Services, revision: str, add: Add) -> None:
    before = services.read_stamps()
    changed = services.names[int(revision) % len(services.names)]
    _wait_until_old(before[changed])
    command = contestant.revise(changed, revision)
    begun_ns = file_now_ns()
    returned_ns = run(command, services.directory / "commands.out")
    ready_ns = services.wait_for_revision(changed, revision).at_ns
    if contestant.waits_until_ready:
        ready_ns = max(ready_ns, returned_ns)
    add(Measured.CHANGE, (ready_ns - begun_ns) / 1e6)
    others = _restarted(before, services.read_stamps()) - {changed}
    add(Measured.OTHER_RESTARTS, float(len(others)))


def _measure_crashes(services: Services, add: Add) -> None:
    """Programs that have run for a while die by KILL, one after the other."""
    stamps = services.read_stamps()
    for name in services.names[:_CRASHES]:
        _wait_until_old(stamps[name])
        begun_ns = now_ns()
        os.kill(stamps[name].pid, signal.SIGKILL)
        add(Measured.CRASH, (services.wait_for_successors({name: stamps[name]}) - begun_ns) / 1e6)


def _wait_until_old(stamp: Stamp) -> None:
    """runit lets nothing start twice within a second; a change comes later than that."""
    time.sleep(max(0.0, _OLD_S - (now_ns() - stamp.at_ns) / 1e9))


def _measure_stop(contestant: Contestant, services: Services, measured: tuple[Measured, Measured], add: Add) -> None:
    everything = Ends(descendants())
    of_services = Ends(stamp.pid for stamp in services.read_stamps().values())
    with ThreadPoolExecutor(1) as watcher:
        gone = watcher.submit(of_services.wait)
        begun_ns = now_ns()
        contestant.stop()
        returned_ns = now_ns()
        if contestant.waits_until_ready:
            add(Measured.LEFT_BEHIND, float(len(descendants())))
        add(measured[0], (gone.result() - begun_ns) / 1e6)
        add(measured[1], (max(everything.wait(), returned_ns) - begun_ns) / 1e6)


def _restarted(before: dict[str, Stamp], after: dict[str, Stamp]) -> set[str]:
    return {name for name in before if before[name] != after.get(name)}


def _duration_ms(command: Callable[[], int]) -> float:
    begun_ns = now_ns()
    return (command() - begun_ns) / 1e6
