"""``status`` and ``ps``: what runs, how long, and how it ended before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from bootstrap.cli.output import describe_box, describe_duration, print_json
from bootstrap.patterns import select_programs
from bootstrap.status import ProgramStatus, Status, judge_status, render_status
from bootstrap.world import clock, kept_out, ledger_file, setups_record, store, supervisord
from bootstrap.world.checks_record import read_failing
from bootstrap.world.ready_record import ReadyRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.cli.settings import Settings
    from bootstrap.ledger import Life
    from bootstrap.observed import Observed
    from bootstrap.rendering import Generation

EXIT_NOT_CONVERGED = 3
_COLOURS = {"running": "green", "starting": "yellow", "stopping": "yellow", "backoff": "red", "failed": "red"}


@click.command(
    epilog="Example: bootstrap status --json", short_help="What runs, since when, and whether it is all ready."
)
@click.argument("programs", nargs=-1, metavar="[PROGRAM…]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def status(settings: Settings, programs: tuple[str, ...], *, as_json: bool) -> int:
    """Show every program: state, pid, age, restarts, port and last exit.

    With programs (named fully, by service, or by glob) only those, and the last 20 starts and exits of each.
    Exits with 0 when everything shown runs, ready, as it was last rendered, and no hard check fails; else with 3.
    """
    supervisor = supervisord.connect(settings.box)
    generation = store.read_current(settings.box)
    observed = supervisor.observe() if supervisor else supervisord.NOTHING
    found = judge_status(
        generation,
        observed,
        _read_ready(settings, generation, observed),
        read_failing(settings.box),
        _read_left_behind(settings, observed),
        setups_record.read_failed(settings.box, generation),
    )
    lives = {}
    if programs and (found.programs or found.generation is not None):
        found = found.only(select_programs(programs, found.services))
        lives = {program.name: ledger_file.read_lives(settings.box, program.name) for program in found.programs}
    if as_json:
        print_json(render_status(found, lives))
    else:
        _print(found, kept_out.read_reason(settings.box), settings.box.state)
        for name in lives:
            _print_lives(name, lives[name])
    return 0 if found.is_well else EXIT_NOT_CONVERGED


ps = status


def _read_ready(settings: Settings, generation: Generation | None, observed: Observed) -> set[str]:
    """Who is known to be ready; only programs that were restarted since are probed, which costs an import."""
    record = ReadyRecord(settings.box)
    known = {program.name for program in observed.programs if record.knows(program)}
    if generation is None or len(known) == sum(program.pid is not None for program in observed.programs):
        return known
    from bootstrap.world import processes, readiness  # noqa: PLC0415

    return readiness.read_ready(settings.box, generation, observed, processes.own_mark(settings.box))


def _read_left_behind(settings: Settings, observed: Observed) -> set[str]:
    """Programs that run without a supervisor, because it has died; looking for them costs an import."""
    if observed.daemon is not None:
        return set()
    from bootstrap.world import processes  # noqa: PLC0415

    return {process.program for process in processes.read_abandoned(settings.box, None) if process.program}


def _print_lives(name: str, lives: tuple[Life, ...]) -> None:
    click.echo()
    rows = [(name, "LIVED", "PID", "GENERATION", "HOW IT ENDED"), *(_life_row(life) for life in lives)]
    _print_table(rows)


def _life_row(life: Life) -> tuple[str, ...]:
    return (
        clock.text_of(life.started_at),
        "-" if life.lived_s is None else describe_duration(life.lived_s),
        str(life.pid or "-"),
        life.generation or "-",
        life.words,
    )


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print(found: Status, draining: str | None, state: str) -> None:
    if found.generation is None and not found.programs:
        click.echo('nothing runs here; "bootstrap up" starts what the tags say')
        if not os.path.isdir(state):
            click.echo(f"its state directory is not there yet: {state}")
        return
    rows = [
        ("PROGRAM", "STATE", "PID", "AGE", "RESTARTS", "PORT", "LAST EXIT"),
        *(_row(program) for program in found.programs),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if number:
            cells[1] = click.style(cells[1], fg=_COLOURS.get(row[1].split()[0]))
        click.echo("  ".join(cells).rstrip())
    if found.generation is not None:
        word = "converged" if found.is_converged else "not converged"
        click.echo(f"{describe_box(found.generation)}, generation {found.generation.id}: {word}")
    for remark in _remarks(found, draining):
        click.echo(remark)


def _remarks(found: Status, draining: str | None) -> Iterator[str]:
    """What the table has no room for."""
    for program in found.programs:
        if program.health == "failing":
            yield f"{program.name}: its check fails: {program.failing}"
    for service in dict.fromkeys(p.unit.service for p in found.programs if p.setup_failed and p.unit is not None):
        yield f'{service}: its set-up has failed: "bootstrap logs {service}.setup" shows why'
    if draining is not None:
        way_out = '; "bootstrap undrain" ends that' if draining == kept_out.DRAINED else ""
        yield f"no requests are to come here: {draining}{way_out}"
    if any(program.left_behind for program in found.programs):
        yield 'the supervisor has died, and what is left behind runs on without it: "bootstrap up" starts it anew'


def _row(status: ProgramStatus) -> tuple[str, ...]:
    program: Any = status.program
    state = status.state
    if status.left_behind:
        state = "left behind"
    elif status.setup_failed and not (status.program and status.program.pid):
        state = f"{status.state} (set-up failed)"
    elif status.is_outdated:
        state = f"{status.state} (outdated)" if status.unit else f"{status.state} (not wanted)"
    elif status.health == "starting":
        state = f"{status.state} (not ready)"
    elif status.health == "failing":
        state = f"{status.state} (failing)"
    return (
        status.name,
        state.replace("starting", "running", 1) if status.ready else state,
        str(program.pid) if program and program.pid else "-",
        describe_duration(program.age_s) if program and program.pid else "-",
        str(program.restarts) if program else "-",
        str(status.unit.port) if status.unit and status.unit.port else "-",
        program.last_exit.words if program and program.last_exit else "-",
    )
