"""``logs``: what the programs write, each line behind its program's name.

Without ``-f`` the lines stand program by program, because they carry no time to be sorted by; with it they come as they
are written, also those of programs that start later. Following has no end of its own, so Ctrl-C and a reader that goes
away (``| head``) are ordinary ends: exit code 0.
"""

from __future__ import annotations

import os
import select
import string
import sys
from typing import TYPE_CHECKING

import click

from bootstrap.cli.colour import refuses_colour
from bootstrap.cli.output import print_json
from bootstrap.cli.settings import Settings  # noqa: TC001 - click hands it over
from bootstrap.errors import Unavailable
from bootstrap.world import clock, disk, store
from bootstrap.world.logs import follow, tail, visible

if TYPE_CHECKING:
    from bootstrap.box import Box

MOST_LINES = 10_000_000
_SUFFIX = ".log"
_SETUP = ".setup"
_NAME_CHARACTERS = frozenset(string.ascii_lowercase + string.digits + "-")
_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_red", "bright_cyan", "bright_yellow")


@click.command(
    epilog="Example: bootstrap logs -f api 'router-*'", short_help="What programs write, each line behind its name."
)
@click.argument("programs", nargs=-1, metavar="[PROGRAM…]")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on with every line as it is written, until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, MOST_LINES),
    default=100,
    show_default=True,
    help="So many of each program's last lines.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def logs(settings: Settings, programs: tuple[str, ...], *, following: bool, lines: int, as_json: bool) -> None:
    """Show the logs of programs (named fully, by service, or by glob; all without a name).

    What the set-up of a service has written is shown for SERVICE.setup.
    """
    if following and as_json:
        raise click.UsageError(
            "cannot follow logs as JSON: --json is one document, and -f has no end\n  way out: leave out one of the two"
        )
    selection = _Selection(settings.box, programs)
    paths = selection.find()
    try:
        if as_json:
            print_json({"programs": [{"name": name, "lines": tail(path, lines)} for name, path in paths.items()]})
        elif following:
            _follow(selection, lines)
        elif not _print(paths, lines) and lines and settings.verbosity >= 0:
            click.echo("nothing has been written yet", err=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered must not complain either


class _Selection:
    """The programs that were asked for; what is known grows as programs start, and never shrinks."""

    def __init__(self, box: Box, patterns: tuple[str, ...]) -> None:
        self._box = box
        self._patterns = patterns
        self._known = _read_planned(box)  # program → service

    def find(self) -> dict[str, str]:
        """Program → log; raises TagError for what matches nothing."""
        for program in _read_logged(self._box):
            if program not in self._known:
                self._known[program] = _service_of(self._box, program)
        if any(pattern.endswith(_SETUP) for pattern in self._patterns):  # nobody else means those
            self._known |= dict.fromkeys(_read_set_up(self._box), "")
        return {name: f"{self._box.log}/{name}{_SUFFIX}" for name in self._select()}

    def _select(self) -> list[str]:
        if not self._patterns:
            return sorted(self._known)
        from bootstrap.patterns import select_programs  # noqa: PLC0415 - only for those who choose

        return select_programs(self._patterns, self._known)


def _read_planned(box: Box) -> dict[str, str]:
    """The programs of the generation in force; who may only read logs is not told."""
    try:
        generation = store.read_current(box)
    except Unavailable:
        return {}
    return {} if generation is None else {unit.name: unit.service for unit in generation.units}


def _read_logged(box: Box) -> list[str]:
    """The programs that have written a log, also those that do not run any more; supervisord's own is none of them."""
    return [stem for stem in _read_stems(box) if "-" in stem and _NAME_CHARACTERS.issuperset(stem)]


def _read_set_up(box: Box) -> list[str]:
    """The set-ups that have written a log: `api.setup`."""
    found = [stem for stem in _read_stems(box) if stem.endswith(_SETUP)]
    return [stem for stem in found if _NAME_CHARACTERS.issuperset(stem.removesuffix(_SETUP))]


def _read_stems(box: Box) -> list[str]:
    try:
        names = os.listdir(box.log)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise disk.refused("read", box.log, error) from error
    return [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]


def _service_of(box: Box, program: str) -> str:
    """The service of a program that is not planned any more: the longest that its name can begin with."""
    try:
        services = os.listdir(box.services)
    except FileNotFoundError:
        services = []
    fitting = [service for service in services if program.startswith(f"{service}-")]
    return max(fitting, key=len, default=program.partition("-")[0])


def _print(paths: dict[str, str], lines: int) -> int:
    """Print the last lines program by program; the answer is how many there were."""
    writer = _Writer(paths)
    for program, path in paths.items():
        for line in tail(path, lines):
            writer.write(program, line)
    writer.flush()
    return writer.written


def _follow(selection: _Selection, lines: int) -> None:
    writer = _Writer(selection.find())
    try:
        for program, line in follow(selection.find, lines=lines, clock=_ReadersClock(writer)):
            writer.write(program, line)
    except KeyboardInterrupt:
        writer.flush()


class _ReadersClock:
    """The house's clock, but a wait shows what is buffered first, and ends when nobody is left to read."""

    def __init__(self, writer: _Writer) -> None:
        self._writer = writer
        self._poll = select.poll()
        self._poll.register(sys.stdout.fileno(), 0)  # errors and hang-ups are told without being asked for

    def now(self) -> float:
        return clock.now()

    def sleep(self, seconds: float, /) -> None:
        self._writer.flush()
        if self._poll.poll(seconds * 1000):
            raise BrokenPipeError


class _Writer:
    """Lines behind their programs' names, harmless to print."""

    def __init__(self, programs: dict[str, str]) -> None:
        self.written = 0
        self._width = max(map(len, programs), default=0)
        self._prefixes: dict[str, str] = {}
        self._is_coloured = _is_coloured()
        _print_anything()

    def write(self, program: str, line: str) -> None:
        if program not in self._prefixes:
            self._prefixes[program] = self._render_prefix(program)
        sys.stdout.write(f"{self._prefixes[program]}{visible(line)}\n")
        self.written += 1

    def flush(self) -> None:
        sys.stdout.flush()

    def _render_prefix(self, program: str) -> str:
        self._width = max(self._width, len(program))
        prefix = f"{program:<{self._width}}  | "
        if not self._is_coloured:
            return prefix
        return click.style(prefix, fg=_COLOURS[len(self._prefixes) % len(_COLOURS)])


def _is_coloured() -> bool:
    return sys.stdout.isatty() and not refuses_colour(os.environ)


def _print_anything() -> None:
    """A terminal that cannot show a character shows its escape instead of ending us."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
