"""``bootstrap config``: what every program finds in its environment, and why.

Nothing here needs AWS or a running box: references are shown, never resolved, and a required variable that is missing
is no error. What several programs have in common is shown once, the rest program by program.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from bootstrap.cli.options import with_verbosity
from bootstrap.cli.output import print_json
from bootstrap.cli.selection import Selection, read_environments, selection_options
from bootstrap.config.explanation import Explanation, explain_environment
from bootstrap.errors import Refused
from bootstrap.frozen import dataclass
from bootstrap.spelling import did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from bootstrap.cli.settings import Settings
    from bootstrap.config.explanation import Origin, Said


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One program, and every key of its environment."""

    program: str
    keys: Mapping[str, Explanation]


def _output_options(verb: Callable[..., None]) -> Callable[..., None]:
    verb = click.option("--reveal", is_flag=True, help="Show secrets instead of masking them.")(verb)
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(verb)


# verb → module: one is imported when it is typed
_MODULES = {
    "diff": "bootstrap.cli.config_diff",
    "edit": "bootstrap.cli.config_edit",
    "export": "bootstrap.cli.config_export",
    "history": "bootstrap.cli.config_history",
    "impact": "bootstrap.cli.config_impact",
    "import": "bootstrap.cli.config_import",
    "lint": "bootstrap.cli.config_lint",
    "set": "bootstrap.cli.config_set",
    "unset": "bootstrap.cli.config_set",
    "verify": "bootstrap.cli.config_verify",
}


class _Verbs(click.Group):
    """A group some of whose verbs are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_MODULES])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return super().get_command(ctx, cmd_name)
        attribute = f"{cmd_name}_" if cmd_name in {"import", "set"} else cmd_name  # names that Python has taken
        command: click.Command = getattr(importlib.import_module(_MODULES[cmd_name]), attribute)
        return with_verbosity(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        verbs = self.list_commands(ctx)
        if args[0] not in verbs and not args[0].startswith("-"):
            raise click.UsageError(f'no such verb "config {args[0]}"{did_you_mean(args[0], verbs)}', ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Verbs,
    short_help="Show, check and edit variables.",
    epilog="Example: bootstrap config explain LOG_LEVEL --mode production --service api",
    help="Show what programs find in their environment and why, check it, and edit it.",
)
def config() -> None:
    """What is common to the verbs is in their options."""


@config.command(
    "list", short_help="Show every variable.", epilog="Example: bootstrap config list --mode review --service api"
)
@selection_options
@_output_options
@click.option("--provenance", is_flag=True, help="Also who set it last, when, in which commit.")
def list_(settings: Settings, selection: Selection, *, provenance: bool, as_json: bool, reveal: bool) -> None:
    """Show every variable, its value and the file that it comes from."""
    seen = _look(settings, selection, reveal=reveal)
    if provenance:
        origins = _read_origins(settings, (one for program in seen for one in program.keys.values()), winners=True)
        seen = [_with_origins(one, origins) for one in seen]
    if as_json:
        print_json({"programs": [_document(one) for one in seen]})
        return
    for line in _tables(seen):
        click.echo(line)


@config.command(
    short_help="Show one value.", epilog="Example: bootstrap config get LOG_LEVEL --mode production --service api"
)
@click.argument("key")
@selection_options
@_output_options
def get(settings: Settings, selection: Selection, *, key: str, as_json: bool, reveal: bool) -> None:
    r"""Show the value of one variable; program by program only where it differs.

    Control characters, a newline too, are shown as \xNN; --json has the value as it is.
    """
    found = _find(_look(settings, selection, reveal=reveal), key)
    values = {program: one.value for program, one in found.items() if one.value is not None}
    if not values:
        raise _removed(key, next(iter(found.values())))
    different = set(values.values())
    common = different.pop() if len(different) == 1 else None
    if as_json:
        masked = any(one.masked for one in found.values())
        print_json({"key": key, "value": common, "masked": masked, "programs": values})
    elif common is not None:
        click.echo(visible(common))
    else:
        for line in _columns(list(values.items())):
            click.echo(line)


@config.command(
    short_help="Show which layers set a variable.",
    epilog="Example: bootstrap config explain DATABASE_URL --mode review --service api",
)
@click.argument("key")
@selection_options
@_output_options
def explain(settings: Settings, selection: Selection, *, key: str, as_json: bool, reveal: bool) -> None:
    """Show every layer that has a say about a variable, the strongest last, and which file wins."""
    found = _find(_look(settings, selection, reveal=reveal), key)
    origins = _read_origins(settings, found.values(), winners=False)
    found = {program: _originated(one, origins) for program, one in found.items()}
    groups = _group(found)
    if as_json:
        print_json(_explanation_document(key, found, alike=len(groups) == 1))
        return
    for explanation, programs in groups:
        for line in _explanation_lines(explanation, programs):
            click.echo(line)


def visible(text: str) -> str:
    r"""A value must not drive the terminal: what is no printable character is shown as its bytes, ``\xNN``."""
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode(errors="surrogateescape"))


def _read_origins(
    settings: Settings, explanations: Iterable[Explanation], *, winners: bool
) -> dict[tuple[str, str], Origin]:
    """Who wrote what each layer says (or the ``winners`` alone), by file and key; without a repository nobody knows."""
    from bootstrap.world.config.origins import read_origins  # noqa: PLC0415 - only where it is asked for

    wanted = [(said.file, one.key) for one in explanations for said in ((one.winner,) if winners else one.layers)]
    return read_origins(settings.box, dict.fromkeys(wanted))


def _with_origins(seen: Seen, origins: Mapping[tuple[str, str], Origin]) -> Seen:
    return Seen(program=seen.program, keys={key: _originated(one, origins) for key, one in seen.keys.items()})


def _originated(one: Explanation, origins: Mapping[tuple[str, str], Origin]) -> Explanation:
    layers = tuple(replace(said, origin=origins.get((said.file, one.key))) for said in one.layers)
    return replace(one, layers=layers)


def _look(settings: Settings, selection: Selection, *, reveal: bool) -> list[Seen]:
    return [
        Seen(program=program.name, keys=explain_environment(environment, program.service.secret, reveal=reveal))
        for program, environment in read_environments(settings, selection)
    ]


def _find(seen: Iterable[Seen], key: str) -> dict[str, Explanation]:
    """The key in every program that has it; raises Refused if none does."""
    seen = list(seen)
    found = {one.program: one.keys[key] for one in seen if key in one.keys}
    if found:
        return found
    known = {known for one in seen for known in one.keys}
    whose = seen[0].program if len(seen) == 1 else "any of these programs"
    raise Refused(
        f"cannot show variable {quoted(key)}: it is not in the environment of {whose}{did_you_mean(key, known)}\n"
        '  way out: "bootstrap config list" shows what there is'
    )


def _removed(key: str, one: Explanation) -> Refused:
    return Refused(
        f"cannot show variable {quoted(key)}: {one.winner.file} removes it\n"
        f'  way out: "bootstrap config explain {key}" shows what it hides'
    )


def _document(one: Seen) -> dict[str, Any]:
    variables = [
        {
            "key": key.key,
            "value": key.value,
            "masked": key.masked,
            "layer": key.winner.layer,
            "file": key.winner.file,
            **_origin_document(key.winner),
        }
        for key in one.keys.values()
        if key.value is not None
    ]
    return {"program": one.program, "variables": variables}


def _tables(seen: list[Seen]) -> Iterator[str]:
    """What all have in common, then the rest of each."""
    present = [{key: one for key, one in program.keys.items() if one.value is not None} for program in seen]
    common = {
        key: one for key, one in present[0].items() if all(_is_alike(one, other.get(key)) for other in present[1:])
    }
    if len(seen) > 1:
        yield from _heading(f"all {len(seen)} programs")
    yield from _columns([_row(one) for one in common.values()])
    for program, keys in zip(seen, present, strict=True):
        own = [_row(one) for key, one in keys.items() if key not in common]
        if own:
            yield ""
            yield from _heading(program.program)
            yield from _columns(own)


def _is_alike(one: Explanation, other: Explanation | None) -> bool:
    return other is not None and (one.value, one.winner) == (other.value, other.winner)


def _heading(text: str) -> Iterator[str]:
    yield click.style(text, bold=True)


def _row(one: Explanation) -> tuple[str, ...]:
    return one.key, one.value or "", one.winner.file, _origin_text(one.winner)


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """The last column is not padded, and one very long value pushes only its own line."""
    shown = [[visible(cell) for cell in row] for row in rows]
    widths = [min(max((len(cell) for cell in column), default=0), 48) for column in zip(*shown, strict=True)]
    for row in shown:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _group(found: Mapping[str, Explanation]) -> list[tuple[Explanation, list[str]]]:
    """Equal explanations, each with its programs."""
    groups: list[tuple[Explanation, list[str]]] = []
    for program, explanation in found.items():
        programs = next((programs for known, programs in groups if known == explanation), None)
        if programs is None:
            groups.append((explanation, [program]))
        else:
            programs.append(program)
    return groups


def _explanation_document(key: str, found: Mapping[str, Explanation], *, alike: bool) -> dict[str, Any]:
    """The contract's four keys; where programs differ, `programs` holds theirs and the four say nothing."""
    if alike:
        return _explained(next(iter(found.values())))
    programs = [{"program": program, **_explained(one)} for program, one in found.items()]
    masked = any(one.masked for one in found.values())
    return {"key": key, "value": None, "masked": masked, "layers": [], "programs": programs}


def _explained(one: Explanation) -> dict[str, Any]:
    layers = [
        {"layer": said.layer, "file": said.file, "value": said.value, "wins": said.wins, **_origin_document(said)}
        for said in one.layers
    ]
    return {"key": one.key, "value": one.value, "masked": one.masked, "layers": layers}


def _origin_document(said: Said) -> dict[str, Any]:
    if said.origin is None:
        return {}
    if said.origin == "uncommitted":
        return {"uncommitted": True}
    commit = said.origin
    return {"commit": commit.id, "author": commit.author, "date": commit.date, "subject": commit.subject}


def _origin_text(said: Said) -> str:
    if said.origin is None:
        return ""
    if said.origin == "uncommitted":
        return "not committed yet"
    commit = said.origin
    return f"{commit.short} {commit.date[:10]} {commit.author}: {commit.subject}"


def _explanation_lines(explanation: Explanation, programs: list[str]) -> Iterator[str]:
    value = "(removed)" if explanation.value is None else visible(explanation.value)
    yield f"{click.style(explanation.key, bold=True)}  {value}"
    yield click.style(f"  in {', '.join(programs)}", dim=True)
    rows = [
        (
            "  wins" if said.wins else "",
            said.file,
            said.layer,
            "(removed)" if said.value is None else said.value,
            _origin_text(said),
        )
        for said in explanation.layers
    ]
    yield from _columns(rows)
