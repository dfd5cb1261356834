"""``bootstrap identity``: the tags, where each came from, and what they make of this box."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from bootstrap.cli.options import tag_options
from bootstrap.identity import Identity, parse_identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bootstrap.box import Box
    from bootstrap.cli.settings import Settings
    from bootstrap.definition import Mode
    from bootstrap.tag import Tag


@click.command(
    epilog="Example: bootstrap identity --tag mode=production --tag service=api",
    short_help="Show the tags, and where each came from.",
    help="Show the tags, where each came from, and the mode and service that they name.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@tag_options
def identity(settings: Settings, *, as_json: bool) -> None:
    found = parse_identity(_read_tags(settings))
    if as_json:
        click.echo(json.dumps(_document(found), indent=2))
        return
    for line in _lines(found):
        click.echo(line)


def _read_tags(settings: Settings) -> tuple[Tag, ...]:
    from bootstrap.world.tags import Machine, read_last_identity, read_tags  # noqa: PLC0415 - not for --help

    if settings.last_identity:
        return read_last_identity(settings.box, settings.tags)
    machine = Machine(say=lambda notice: click.echo(notice, err=True))
    return read_tags(settings.box, settings.tags, settings.tags_file, lambda: _read_modes(settings.box), machine)


def _read_modes(box: Box) -> Mapping[str, Mode]:
    from bootstrap.catalog import parse_catalog  # noqa: PLC0415 - brings YAML
    from bootstrap.world.sources import read_sources  # noqa: PLC0415

    return parse_catalog(read_sources(box)).modes


def _document(found: Identity) -> dict[str, object]:
    return {
        "mode": found.mode,
        "service": found.service,
        "process": found.process,
        "tags": [{"key": tag.key, "value": tag.value, "source": tag.source} for tag in found.tags],
    }


def _lines(found: Identity) -> Iterator[str]:
    yield f"mode     {found.mode}"
    yield f"service  {found.service or '-'}"
    yield f"process  {found.process or '-'}"
    yield ""
    rows = [("TAG", "VALUE", "FROM"), *((_visible(t.key), _visible(t.value), _visible(t.source)) for t in found.tags)]
    key_width, value_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    for key, value, source in rows:
        yield f"{key:<{key_width}}  {value:<{value_width}}  {source}"


def _visible(text: str) -> str:
    """A tag must not drive the terminal: control characters are shown, not sent."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
