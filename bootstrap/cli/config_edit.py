"""``bootstrap config edit``: a layer as one dotenv text in your editor, and a diff before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bootstrap.cli.config_impact import impact_lines
from bootstrap.errors import Refused
from bootstrap.problem import FlawedError, render_problems
from bootstrap.spelling import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bootstrap.cli.settings import Settings
    from bootstrap.edits import Impact

_HEAD = '# {layer}: one KEY="value" a line, as in a .env file. What you remove is unset; references are not shown.\n'


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
    """
    if common == bool(mode or service):
        raise click.UsageError("name one layer: --common, --mode MODE, --service SERVICE, or both of these")
    from bootstrap.cli.config_set import written_lines  # noqa: PLC0415 - not for --help
    from bootstrap.world.config.writing import Target, read_layer_values, write_keys  # noqa: PLC0415 - not for --help

    target = Target(service=service, mode=mode)
    layer, before = read_layer_values(settings.box, target)
    text = _ask_editor(layer, _HEAD.format(layer=layer) + _render(before))
    after = before if text is None else _parse(layer, text)
    changed = {key: after.get(key) for key in sorted({*before, *after}) if before.get(key) != after.get(key)}
    if not changed:
        click.echo("nothing has changed")
        return 0
    for line in _lines(before, changed):
        click.echo(line)
    if not yes and not click.confirm("write and commit?"):
        click.echo("nothing has been written")
        return 0

    def tell(impacts: Iterable[Impact]) -> None:
        for line in impact_lines(list(impacts)):
            click.echo(line)

    written = write_keys(settings.box, target, changed, "Edit", why, tell)
    for line in written_lines(written):
        click.echo(line)
    return 0


def _ask_editor(layer: str, text: str) -> str | None:
    """The text as it was saved, ``None`` when it was not."""
    try:
        return click.edit(text, extension=".env", require_save=True)
    except click.ClickException as error:
        editor = error.format_message().partition(": ")[0]  # click names it, and says no more than that it failed
        raise Refused(
            f"cannot edit {layer}: the editor {quoted(editor)} cannot be run, or has failed; nothing has been written\n"
            "  way out: name one that works in $VISUAL or $EDITOR"
        ) from None


def _render(values: Mapping[str, str]) -> str:
    from bootstrap.dotenv_file import render_line  # noqa: PLC0415 - not for --help

    lines = {key: render_line(key, value) for key, value in sorted(values.items())}
    odd = sorted(key for key, line in lines.items() if line is None)
    if odd:
        raise Refused(
            f"cannot edit {', '.join(odd)} as text: no dotenv line holds such a value\n"
            "  way out: bootstrap config set KEY=@FILE for it"
        )
    return "".join(str(line) for line in lines.values())


def _parse(layer: str, text: str) -> dict[str, str]:
    from bootstrap.dotenv_file import parse_dotenv  # noqa: PLC0415 - not for --help

    try:
        return parse_dotenv(text.encode(errors="surrogateescape"))
    except FlawedError as flaw:
        raise Refused(*render_problems(f"your edit of {layer}", flaw.problems)) from None


def _lines(before: Mapping[str, str], changed: Mapping[str, str | None]) -> Iterator[str]:
    for key, value in changed.items():
        sign, colour = ("-", "red") if value is None else ("~", "yellow") if key in before else ("+", "green")
        yield f"{click.style(sign, fg=colour)} {key}"
