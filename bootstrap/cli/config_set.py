"""``bootstrap config set`` and ``unset``: write the one right file, say what that restarts, commit."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

import click

from bootstrap.cli.config_impact import impact_lines
from bootstrap.cli.output import print_json, say
from bootstrap.errors import Refused
from bootstrap.spelling import listed, quoted
from bootstrap.variable import KEY, is_reserved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from bootstrap.config.edits import Impact
    from bootstrap.world.config.writing import Target, Written

V = TypeVar("V", bound="Callable[..., int]")
_LARGEST = 1024 * 1024


def _layer_options(verb: V) -> V:
    """The layer, the reason and what follows; the verb gets them as keyword arguments."""
    for option in reversed(
        [
            click.option("--common", is_flag=True, help="For every service in every mode."),
            click.option("--mode", metavar="MODE", help="For this mode (of every service, or of --service)."),
            click.option("--service", metavar="SERVICE", help="For this service (in every mode, or in --mode)."),
            click.option("-m", "--message", "why", default="", metavar="WHY", help="The reason, for the commit."),
            click.option("--up", "then_up", is_flag=True, help="Apply it on this box right away."),
            click.option("--json", "as_json", is_flag=True, help="Print one JSON document; with --up, that of up."),
        ]
    ):
        verb = option(verb)
    return verb


@click.command(
    "set",
    short_help="Set variables in the one right file, and commit.",
    epilog="Example: bootstrap config set LOG_LEVEL=debug --service api --mode staging -m 'look for the leak'",
)
@click.argument("assignments", nargs=-1, required=True, metavar="KEY=VALUE…")
@_layer_options
@click.pass_context
def set_(
    context: click.Context,
    *,
    assignments: tuple[str, ...],
    common: bool,
    mode: str | None,
    service: str | None,
    why: str,
    then_up: bool,
    as_json: bool,
) -> int:
    """Set variables in one layer. KEY=@FILE takes the value from a file, KEY=- from standard input.

    The newline at the end of a file or of standard input is not part of the value. What the edit restarts, and where,
    is said first. The commit names keys, layer and reason, never a value. When anything fails, the tree is as it was.
    What would newly break the schema is refused before anything is written; a probable secret in clear text is told.
    """
    values = _parse(assignments)
    target = _target(mode, service, common=common)
    return _write(context, target, values, "Set", why, then_up=then_up, as_json=as_json)


@click.command(
    short_help="Remove variables from one layer, and commit.",
    epilog="Example: bootstrap config unset LOG_LEVEL --service api --mode staging",
)
@click.argument("keys", nargs=-1, required=True, metavar="KEY…")
@_layer_options
@click.pass_context
def unset(
    context: click.Context,
    *,
    keys: tuple[str, ...],
    common: bool,
    mode: str | None,
    service: str | None,
    why: str,
    then_up: bool,
    as_json: bool,
) -> int:
    """Remove variables from one layer; what weaker layers say about them counts again."""
    for key in keys:
        _refuse_name(key)
    target = _target(mode, service, common=common)
    return _write(context, target, dict.fromkeys(keys), "Unset", why, then_up=then_up, as_json=as_json)


def _target(mode: str | None, service: str | None, *, common: bool) -> Target:
    from bootstrap.world.config.writing import Target  # noqa: PLC0415 - not for --help

    if common == bool(mode or service):
        raise click.UsageError("name one layer: --common, --mode MODE, --service SERVICE, or both of these")
    return Target(service=service, mode=mode)


def _write(
    context: click.Context,
    target: Target,
    values: Mapping[str, str | None],
    verb: str,
    why: str,
    *,
    then_up: bool,
    as_json: bool,
) -> int:
    from bootstrap.world.config.writing import write_keys  # noqa: PLC0415 - not for --help

    def tell(impacts: Iterable[Impact]) -> None:
        if not as_json:
            for line in impact_lines(list(impacts)):
                say(line)

    written = write_keys(context.obj.box, target, values, verb, why, tell)
    if as_json and not then_up:
        print_json(asdict(written))
    else:
        for line in written_lines(written, then_up=then_up):
            say(line, err=as_json)
    if not then_up:
        return 0
    from bootstrap.cli.up import up  # noqa: PLC0415 - only when it is asked for

    code: int = up.main(["--json"] if as_json else [], standalone_mode=False, obj=context.obj)
    return code


def written_lines(written: Written, *, then_up: bool = False) -> Iterator[str]:
    """What an edit came to."""
    if written.commit is None:
        yield "nothing has changed: this layer says so already"
        return
    if written.clear_text:
        yield (
            f"warning: probably secret, and in clear text: {listed(written.clear_text)}; take the commit back before "
            "anybody has it, and refer to a store with NAME.ssm or NAME.secret"
        )
    for one in written.outweighed:
        where = f"for {', '.join(one.services)} in {', '.join(one.modes)}"
        yield f"{one.key} stays as it is {where}: {one.file} is stronger"
    yield f"committed {written.commit[:10]}: {written.subject}"
    if written.impacts and not then_up:
        yield 'what runs goes on as it is: "bootstrap up" applies it'


def _parse(assignments: Iterable[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise Refused(f"cannot set {quoted(text)}: should be KEY=VALUE, KEY=@FILE or KEY=-")
        _refuse_name(key)
        if key in values:
            raise Refused(f"cannot set {key}: it is named twice\n  way out: leave one out")
        values[key] = _read_value(key, value)
    return values


def _read_value(key: str, text: str) -> str:
    if text == "-":
        content, whose = sys.stdin.buffer.read(_LARGEST + 1), "standard input"
    elif text.startswith("@"):
        whose = quoted(text[1:])
        try:
            with open(text[1:], "rb") as file:
                content = file.read(_LARGEST + 1)
        except OSError as error:
            raise Refused(
                f"cannot set {key}: cannot read {whose}: {error.strerror}\n  way out: name a readable file"
            ) from None
    else:
        return text
    if not content:  # most likely what should have written it has failed
        raise Refused(f"cannot set {key}: {whose} is empty\n  way out: {key}= sets it to the empty text")
    return content.removesuffix(b"\n").decode(errors="surrogateescape")


def _refuse_name(key: str) -> None:
    if not KEY.fullmatch(key):
        raise Refused(f"cannot set {quoted(key)}: a name is letters, digits and underscores, no digit first")
    if is_reserved(key):
        raise Refused(f"cannot set {key}: bootstrap alone sets it\n  way out: give the variable another name")
