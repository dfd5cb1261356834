"""``bootstrap config verify``: whether a service gets, byte by byte, what it has elsewhere."""

from __future__ import annotations

import os
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

import click

from bootstrap.cli.config_origin import leave_out, read_dotenv, read_heroku, without_option
from bootstrap.cli.output import print_json
from bootstrap.digest import digest_of
from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bootstrap.cli.settings import Settings
    from bootstrap.config.comparison import Difference
    from bootstrap.variable import Environment

EXIT_DIFFERENT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """Whose environment is compared, and what may be in it that is not elsewhere."""

    service: str
    mode: str
    allow_extra: bool


@click.group(
    short_help="Compare with where an environment came from.",
    epilog="Example: bootstrap config verify heroku --app todo-api --service api --mode production",
)
def verify() -> None:
    """Load an environment as services get it and compare it with where it came from, both ways and byte by byte.

    Differences are told by length and a short digest, never by value; a digest is good for this run only. References
    are resolved. Exit code 0: no difference; 1: some.
    """


def _whose_options(verb: Callable[..., int]) -> Callable[..., int]:
    @click.option("--service", required=True, metavar="SERVICE", help="The service.")
    @click.option("--mode", required=True, metavar="MODE", help="The mode that it runs in.")
    @click.option("--allow-extra", is_flag=True, help="Keys that only our layers set are no difference.")
    def asked(service: str, mode: str, *, allow_extra: bool, **kwargs: Any) -> int:
        return verb(whose=Whose(service=service, mode=mode, allow_extra=allow_extra), **kwargs)

    mine = getattr(asked, "__click_params__", [])
    update_wrapper(asked, verb)
    asked.__dict__["__click_params__"] = [*getattr(verb, "__click_params__", []), *mine]
    return asked


@verify.command(
    epilog="Example: bootstrap config verify heroku --app todo-api --service api --mode production --json vars.json"
)
@click.option("--app", required=True, metavar="APP", help="The Heroku app.")
@click.option("--json", "file", metavar="FILE", help="What `heroku config --json` printed (-: standard input).")
@without_option
@_whose_options
@click.pass_obj
def heroku(settings: Settings, *, app: str, file: str | None, without: tuple[str, ...], whose: Whose) -> int:
    """Compare with the config vars of a Heroku app."""
    environments = _load(settings, whose)
    return _compare(environments, leave_out(read_heroku(app, file), without), whose, f"heroku app {app}", as_json=False)


@verify.command(epilog="Example: bootstrap config verify dotenv .env.production --service api --mode production")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@without_option
@_whose_options
@click.pass_obj
def dotenv(settings: Settings, *, file: str, without: tuple[str, ...], whose: Whose, as_json: bool) -> int:
    """Compare with a dotenv FILE."""
    environments = _load(settings, whose)
    return _compare(environments, leave_out(read_dotenv(file), without), whose, file, as_json=as_json)


@verify.command(epilog="Example: bootstrap config verify envdir /etc/service/api/env --service api --mode production")
@click.argument("directory")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@without_option
@_whose_options
@click.pass_obj
def envdir(settings: Settings, *, directory: str, without: tuple[str, ...], whose: Whose, as_json: bool) -> int:
    """Compare with a DIRECTORY of one file a variable."""
    from bootstrap.variable import Reference  # noqa: PLC0415 - not for --help
    from bootstrap.world.config.layers import read_envdir  # noqa: PLC0415 - likewise

    environments = _load(settings, whose)
    settings_there = leave_out(read_envdir(directory, without).settings, without)
    values = {key: one.value for key, one in settings_there.items() if not isinstance(one.value, Reference)}
    return _compare(environments, values, whose, directory, as_json=as_json)


def _load(settings: Settings, whose: Whose) -> dict[str, Environment]:
    from bootstrap.world.config.lookup import read_resolved  # noqa: PLC0415 - not for --help

    return read_resolved(settings.box, whose.service, whose.mode)


def _compare(
    environments: Mapping[str, Environment],
    values: Mapping[str, str | None],
    whose: Whose,
    where: str,
    *,
    as_json: bool,
) -> int:
    from bootstrap.config.comparison import compare_values  # noqa: PLC0415 - not for --help

    found: dict[str, list[Difference]] = {}
    for program, environment in environments.items():
        differences = compare_values(values, environment)
        if whose.allow_extra:
            differences = [one for one in differences if one.kind != "extra"]
        found[program] = differences
    salt = os.urandom(32)
    if as_json:
        programs = [
            {"program": program, "differences": [_document(one, salt) for one in differences]}
            for program, differences in found.items()
        ]
        print_json({"keys": len(values), "equal": not any(found.values()), "programs": programs})
    else:
        for line in _report(found, len(values), where, salt):
            click.echo(line)
    return EXIT_DIFFERENT if any(found.values()) else 0


def _report(found: Mapping[str, list[Difference]], keys: int, where: str, salt: bytes) -> Iterator[str]:
    """Programs that differ in the same way are told together."""
    together: dict[tuple[Difference, ...], list[str]] = {}
    for program, differences in found.items():
        together.setdefault(tuple(differences), []).append(program)
    for told, programs in together.items():
        if not told:
            yield f"{', '.join(programs)}: {keys} keys of {where}, byte by byte the same"
            continue
        count = f"{len(told)} difference{'' if len(told) == 1 else 's'}"
        yield f"{', '.join(programs)}: {count} to the {keys} keys of {where}"
        width = max(len(one.key) for one in told)
        for one in told:
            yield f"  {one.kind:<9}  {one.key:<{width}}  {_sides(one, salt)}"


def _sides(one: Difference, salt: bytes) -> str:
    there = "not there" if one.theirs is None else f"there {_measure(one.theirs, salt)}"
    here = "not here" if one.ours is None else f"here {_measure(one.ours, salt)} ({one.file})"
    return f"{there}, {here}"


def _measure(value: str, salt: bytes) -> str:
    raw = value.encode(errors="surrogateescape")
    return f"{len(raw)} byte{'' if len(raw) == 1 else 's'} {_digest(raw, salt)}"


def _document(one: Difference, salt: bytes) -> dict[str, Any]:
    sides = {
        side: None
        if value is None
        else {"bytes": len(raw := value.encode(errors="surrogateescape")), "digest": _digest(raw, salt)}
        for side, value in (("theirs", one.theirs), ("ours", one.ours))
    }
    return {"key": one.key, "kind": one.kind, "file": one.file, **sides}


def _digest(raw: bytes, salt: bytes) -> str:
    """Equal for equal values of this run; nobody can try guessed values against it later."""
    return digest_of(raw, 4, salt)
