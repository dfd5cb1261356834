"""``bootstrap config edit``: a layer as one dotenv text in your editor, and a diff before anything is written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from bootstrap.cli.config_impact import impact_lines
from bootstrap.errors import BootstrapError, Refused
from bootstrap.frozen import dataclass
from bootstrap.reading.problem import FlawedError, render_problems
from bootstrap.spelling import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bootstrap.cli.settings import Settings
    from bootstrap.config.edits import Impact
    from bootstrap.world.config.draft import Draft
    from bootstrap.world.config.writing import Shown, Target

_HEAD = '# {layer}: one KEY="value" a line, as in a .env file. What you remove is unset; references are not shown.\n'
_BELOW = "# {layer}/.env lies under these files{alone}; edit it by hand.\n"


@click.command(
    short_help="Edit a layer as dotenv text in $EDITOR.", epilog="Example: bootstrap config edit --service api"
)
@click.option("--common", is_flag=True, help="The layer of every service in every mode.")
@click.option("--mode", metavar="MODE", help="The layer of this mode (of every service, or of --service).")
@click.option("--service", metavar="SERVICE", help="The layer of this service (in every mode, or in --mode).")
@click.option("-m", "--message", "why", default="", metavar="WHY", help="The reason, for the commit.")
@click.option("--yes", is_flag=True, help="Write without asking.")
@click.pass_obj
def edit(settings: Settings, *, common: bool, mode: str | None, service: str | None, why: str, yes: bool) -> int:
    """Open the variables of one layer in $EDITOR. Shows which keys change, asks, writes files and commits.

    Values are in the editor's file, which only you can read, and nowhere else: the diff that is shown names keys alone.
    What cannot be written is not lost: on a terminal the editor opens again, elsewhere the error names that file.
    """
    if common == bool(mode or service):
        raise click.UsageError("name one layer: --common, --mode MODE, --service SERVICE, or both of these")
    from bootstrap.world.config.draft import write_draft  # noqa: PLC0415 - not for --help
    from bootstrap.world.config.writing import Target, read_shown  # noqa: PLC0415 - likewise

    target = Target(service=service, mode=mode)
    shown = read_shown(settings.box, target)
    draft = write_draft(shown.layer, (_head(shown) + _render(shown.values)).encode())
    try:
        _edit_until_it_fits(_Editing(settings=settings, target=target, shown=shown, draft=draft, why=why, yes=yes))
    except BaseException as failure:
        if not draft.is_changed():
            draft.remove()
            raise
        draft.keep()
        if isinstance(failure, BootstrapError):
            raise type(failure)(_with_place(str(failure), draft)) from None
        click.echo(f"what you typed is in {draft.path}", err=True)
        raise
    draft.remove()
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Editing:
    """One person at one layer."""

    settings: Settings
    target: Target
    shown: Shown
    draft: Draft
    why: str
    yes: bool


def _edit_until_it_fits(editing: _Editing) -> None:
    """Whoever sits at a terminal may mend what he typed; a layer that has changed has to be looked at anew."""
    from bootstrap.world.config.writing import Overtaken  # noqa: PLC0415 - not for --help

    while True:
        try:
            return _edit_once(editing)
        except Overtaken:
            raise
        except BootstrapError as error:
            if not editing.draft.is_changed() or not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise
            click.echo(click.style("error: ", fg="red", bold=True) + str(error), err=True)
            if not click.confirm("open the editor again?", default=True, err=True):
                raise


def _edit_once(editing: _Editing) -> None:
    from bootstrap.cli.config_set import written_lines  # noqa: PLC0415 - not for --help
    from bootstrap.cli.output import say  # noqa: PLC0415 - likewise
    from bootstrap.world.config.writing import write_keys  # noqa: PLC0415 - likewise

    shown = editing.shown
    _ask_editor(shown.layer, editing.draft)
    before, after = shown.values, _parse(shown.layer, editing.draft.read())
    changed = {key: after.get(key) for key in sorted({*before, *after}) if before.get(key) != after.get(key)}
    if not changed:
        say("nothing has changed")
        return
    for line in _lines(before, changed):
        say(line)
    if not editing.yes and not click.confirm("write and commit?"):
        say("nothing has been written")
        return

    def tell(impacts: Iterable[Impact]) -> None:
        for line in impact_lines(list(impacts)):
            say(line)

    written = write_keys(editing.settings.box, editing.target, changed, "Edit", editing.why, tell, before)
    for line in written_lines(written):
        say(line)


def _with_place(message: str, draft: Draft) -> str:
    """The error, whose way out begins with what was typed already."""
    joint = "; " if message.rpartition("\n")[2].startswith("  way out: ") else "\n  way out: correct that; "
    return f"{message}{joint}what you typed is in {draft.path}"


def _head(shown: Shown) -> str:
    below = ""
    if shown.has_dotenv:
        alone = f", and it alone sets {', '.join(shown.dotenv)}" if shown.dotenv else ""
        below = _BELOW.format(layer=f"config/{shown.layer}", alone=alone)
    return _HEAD.format(layer=shown.layer) + below


def _ask_editor(layer: str, draft: Draft) -> None:
    try:
        click.edit(filename=draft.path)
    except click.ClickException as error:
        editor = error.format_message().partition(": ")[0]  # click names it, and says no more than that it failed
        raise Refused(
            f"cannot edit {layer}: the editor {quoted(editor)} cannot be run, or has failed; nothing has been written\n"
            "  way out: name one that works in $VISUAL or $EDITOR"
        ) from None


def _render(values: Mapping[str, str]) -> str:
    from bootstrap.config.dotenv_file import render_line  # noqa: PLC0415 - not for --help

    lines = {key: render_line(key, value) for key, value in sorted(values.items())}
    odd = sorted(key for key, line in lines.items() if line is None)
    if odd:
        raise Refused(
            f"cannot edit {', '.join(odd)} as text: no dotenv line holds such a value\n"
            "  way out: bootstrap config set KEY=@FILE for it"
        )
    return "".join(str(line) for line in lines.values())


def _parse(layer: str, content: bytes) -> dict[str, str]:
    """Editors of Windows begin with a mark, and end lines with two characters."""
    from bootstrap.config.dotenv_file import parse_dotenv  # noqa: PLC0415 - not for --help

    try:
        return parse_dotenv(content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n"))
    except FlawedError as flaw:
        raise Refused(*render_problems(f"your edit of {layer}", flaw.problems)) from None


def _lines(before: Mapping[str, str], changed: Mapping[str, str | None]) -> Iterator[str]:
    for key, value in changed.items():
        sign, colour = ("-", "red") if value is None else ("~", "yellow") if key in before else ("+", "green")
        yield f"{click.style(sign, fg=colour)} {key}"
