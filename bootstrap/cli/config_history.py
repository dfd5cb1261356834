"""``bootstrap config history``: who changed what, when, and why."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from bootstrap.cli.config import visible
from bootstrap.cli.output import print_json
from bootstrap.errors import Refused
from bootstrap.spelling import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.cli.settings import Settings
    from bootstrap.world.config.past import Edit


@click.command(
    short_help="Who changed a variable, when, from what to what.",
    epilog="Example: bootstrap config history DATABASE_URL",
)
@click.argument("key", required=False, metavar="[KEY]")
@click.option("-n", "--most", default=50, show_default=True, type=click.IntRange(1), help="At most so many commits.")
@click.option("--reveal", is_flag=True, help="Show secrets instead of masking them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def history(settings: Settings, *, key: str | None, most: int, reveal: bool, as_json: bool) -> None:
    """Show every committed change of a variable, in any layer, newest first; without KEY of all of them."""
    from bootstrap.world.config.past import read_edits  # noqa: PLC0415 - not for --help

    edits = list(read_edits(settings.box, key, most=most, reveal=reveal))
    if not edits and key is not None:
        raise Refused(
            f"cannot show the history of {quoted(key)}: no commit has touched it\n"
            '  way out: "bootstrap config list" shows what there is; a shallow clone knows only its last commits'
        )
    if as_json:
        print_json({"edits": [asdict(edit) for edit in edits]})
        return
    for line in _lines(edits):
        click.echo(line)


def _lines(edits: list[Edit]) -> Iterator[str]:
    commit = ""
    for edit in edits:
        if edit.commit != commit:
            commit = edit.commit
            yield click.style(f"{commit[:10]}  {edit.date}  {visible(edit.author)}  {visible(edit.subject)}", bold=True)
        before = "(not set)" if edit.before is None else visible(edit.before)
        after = "(not set)" if edit.after is None else visible(edit.after)
        yield f"  {visible(edit.file)}  {edit.key}: {before} → {after}"
