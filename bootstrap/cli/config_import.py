"""``bootstrap config import``: bring an environment from elsewhere into a layer, without a mistake."""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, Any

import click

from bootstrap.cli.config_origin import leave_out, read_dotenv, read_heroku, without_option
from bootstrap.cli.output import print_json, say
from bootstrap.errors import ApplyFailed, BootstrapError, Refused
from bootstrap.frozen import dataclass
from bootstrap.spelling import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bootstrap.cli.settings import Settings
    from bootstrap.config.importing import Value, Writing

_UNCOMMITTED = "nobody has committed that yet: see it with git status, and commit it"
_SHARE = "bootstrap config import shared --mode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the values go, and whether they really do."""

    service: str | None
    mode: str | None
    plan: bool
    as_json: bool


@click.group(
    "import",
    short_help="Bring in an environment, byte by byte.",
    epilog="Example: bootstrap config import heroku --app todo-api --service api --mode production",
)
def import_() -> None:
    """Write an environment from elsewhere into one layer, and read it back; nothing is committed.

    A value that would not arrive unchanged is refused, together with all others, before anything is written.
    """


def _target_options(verb: Callable[..., None]) -> Callable[..., None]:
    @click.option("--service", metavar="SERVICE", help="The layer of this service (with --mode: in that mode alone).")
    @click.option("--mode", metavar="MODE", help="The layer of this mode.")
    @click.option("--common", is_flag=True, help="The layer of all services in all modes.")
    @click.option("--plan", is_flag=True, help="Only say what would be written.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    def targeted(
        service: str | None, mode: str | None, *, common: bool, plan: bool, as_json: bool, **kwargs: Any
    ) -> None:
        if common == bool(service or mode):
            raise click.UsageError("name one layer: --common, --mode M, --service S, or --service S --mode M")
        verb(target=Target(service=service, mode=mode, plan=plan, as_json=as_json), **kwargs)

    mine = getattr(targeted, "__click_params__", [])
    update_wrapper(targeted, verb)
    targeted.__dict__["__click_params__"] = [*getattr(verb, "__click_params__", []), *mine]
    return targeted


@import_.command(
    short_help="Bring in the config vars of a Heroku app.",
    epilog="Example: bootstrap config import heroku --app todo-api --service api --mode production --json vars.json",
)
@click.option("--app", required=True, metavar="APP", help="The Heroku app.")
@click.option("--service", required=True, metavar="SERVICE", help="The service that it becomes.")
@click.option("--mode", required=True, metavar="MODE", help="The mode that it runs in.")
@click.option("--json", "file", metavar="FILE", help="What `heroku config --json` printed (-: standard input).")
@click.option("--plan", is_flag=True, help="Only say what would be written.")
@without_option
@click.pass_obj
def heroku(
    settings: Settings, *, app: str, service: str, mode: str, file: str | None, plan: bool, without: tuple[str, ...]
) -> None:
    """Bring in the config vars of a Heroku app, from the Heroku CLI or from a file.

    Afterwards `bootstrap config verify heroku` compares what the service gets with what the app has.
    """
    target = Target(service=service, mode=mode, plan=plan, as_json=False)
    _check(settings, target)
    _bring(settings, target, leave_out(read_heroku(app, file), without))


@import_.command(
    short_help="Bring in a dotenv FILE.",
    epilog="Example: bootstrap config import dotenv .env.production --service api --mode production",
)
@click.argument("file")
@without_option
@_target_options
@click.pass_obj
def dotenv(settings: Settings, *, file: str, without: tuple[str, ...], target: Target) -> None:
    """Bring in a dotenv FILE, read as python-dotenv reads it, without interpolation."""
    _check(settings, target)
    _bring(settings, target, leave_out(read_dotenv(file), without))


@import_.command(
    short_help="Bring in a DIRECTORY with one file a variable.",
    epilog="Example: bootstrap config import envdir /etc/service/api/env --service api --mode production",
)
@click.argument("directory")
@without_option
@_target_options
@click.pass_obj
def envdir(settings: Settings, *, directory: str, without: tuple[str, ...], target: Target) -> None:
    """Bring in a DIRECTORY with one file a variable, as `chpst -e` and envdir read it; an empty file removes."""
    from bootstrap.world.config.layers import read_envdir  # noqa: PLC0415 - not for --help

    _check(settings, target)
    values = {key: setting.value for key, setting in read_envdir(directory, without).settings.items()}
    _bring(settings, target, leave_out(values, without))


@import_.command(
    short_help="Refer to every SSM parameter below PATH.",
    epilog="Example: bootstrap config import ssm /todo/production/api --service api --mode production",
)
@click.argument("path")
@without_option
@_target_options
@click.pass_obj
def ssm(settings: Settings, *, path: str, without: tuple[str, ...], target: Target) -> None:
    """Refer to every SSM parameter below PATH: /todo/api/DATABASE_URL becomes DATABASE_URL.ssm.

    No value is read, let alone written: the boxes resolve the references.
    """
    from bootstrap.config.importing import name_parameters  # noqa: PLC0415 - not for --help
    from bootstrap.world.secrets import read_parameter_names  # noqa: PLC0415 - likewise

    _check(settings, target)
    _bring(settings, target, leave_out(name_parameters(read_parameter_names(path)), without))


@import_.command(epilog="Example: bootstrap config import shared --mode production --plan")
@click.option("--mode", required=True, metavar="MODE", help="Look at the services of this mode.")
@click.option("--plan", is_flag=True, help="Only say what would be moved.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def shared(settings: Settings, *, mode: str, plan: bool, as_json: bool) -> None:
    """Move keys that every service has alike into the layer of the mode.

    Only what is proved to change nothing: every environment of every mode and service is made before and after.
    """
    from bootstrap.world.config.sharing import find_shares, write_shares  # noqa: PLC0415 - not for --help

    _check(settings, Target(service=None, mode=mode, plan=plan, as_json=as_json))
    target, shares = find_shares(settings.box, mode)
    if not plan:
        write_shares(settings.box, target, shares)
    if as_json:
        moved = [{"key": share.key, "from": list(share.files)} for share in shares]
        print_json({"layer": f"config/{target}", "shared": moved, "written": not plan})
        return
    for share in shares:
        say(f"{share.key}  {len(share.files)} files → config/{target}")
    verb = "could stand" if plan else "now stand"
    say(f"{_count(len(shares))} {verb} once in config/{target}; no environment of any mode and service differs")
    if shares and not plan:
        _tell_uncommitted(settings)


def _check(settings: Settings, target: Target) -> None:
    """Refuse an unknown service or mode before anybody is asked for values."""
    from bootstrap.catalog import parse_catalog  # noqa: PLC0415 - not for --help
    from bootstrap.config.importing import check_target  # noqa: PLC0415 - likewise
    from bootstrap.world.sources import read_sources  # noqa: PLC0415 - likewise

    check_target(parse_catalog(read_sources(settings.box)), target.service, target.mode)


def _bring(settings: Settings, target: Target, values: Mapping[str, Value]) -> None:
    from bootstrap.config.importing import own_layer, plan_writing, refuse_lossy  # noqa: PLC0415 - not for --help
    from bootstrap.world.config.layer_writer import write_layer  # noqa: PLC0415 - likewise
    from bootstrap.world.config.layers import read_layer, read_order  # noqa: PLC0415 - likewise

    box = settings.box
    name = own_layer(read_order(box), target.service, target.mode)
    refuse_lossy(values)
    before = read_layer(box, name)
    writing = plan_writing(values, before)
    if not target.plan:
        write_layer(box, name, writing)
        _refuse_difference(values, writing, settings, name)
    others = sorted(before.settings.keys() - values.keys())
    if target.as_json:
        print_json(_document(name, target, writing, values, others))
        return
    for line in _report(name, target, writing, values, others):
        say(line)
    if _written(writing, values) and not target.plan:
        _tell_uncommitted(settings)
    _propose(settings, target)


def _refuse_difference(values: Mapping[str, Value], writing: Writing, settings: Settings, name: str) -> None:
    """Read back what was written, through the loader of the services."""
    from bootstrap.world.config.layers import read_layer  # noqa: PLC0415 - the caller has imported it already

    found = read_layer(settings.box, name).settings
    wrong = [
        key
        for key, value in values.items()
        if key not in writing.kept and (key not in found or found[key].value != value)
    ]
    if wrong:
        raise ApplyFailed(
            f"cannot import variable {listed(wrong)}: it did not come back as it was written\n"
            f"  where: config/{name}\n  way out: see whether somebody else writes there, and run the command again"
        )


def _document(
    name: str, target: Target, writing: Writing, values: Mapping[str, Value], others: list[str]
) -> dict[str, Any]:
    return {
        "layer": f"config/{name}",
        "written": [] if target.plan else _written(writing, values),
        "planned": _written(writing, values) if target.plan else [],
        "unchanged": sorted(writing.unchanged),
        "kept": sorted(writing.kept),
        "others": others,
        "clear_text": _clear_text(values),
    }


def _written(writing: Writing, values: Mapping[str, Value]) -> list[str]:
    return sorted(key for key in values if key not in {*writing.kept, *writing.unchanged})


def _clear_text(values: Mapping[str, Value]) -> list[str]:
    from bootstrap.config.clear_text import find_secret  # noqa: PLC0415 - not for --help

    return sorted(key for key, value in values.items() if isinstance(value, str) and find_secret(key, value))


def _report(name: str, target: Target, writing: Writing, values: Mapping[str, Value], others: list[str]) -> list[str]:
    written = _written(writing, values)
    dotted = writing.lines.count("\n")
    beside = f" ({dotted} of them to its .env, which holds blanks at the end)" if dotted else ""
    verb = "would write" if target.plan else "wrote"
    lines = [f"{verb} {_count(len(written))} to config/{name}{beside}"]
    if writing.unchanged:
        lines.append(f"unchanged: {_count(len(writing.unchanged))}")
    if writing.kept:
        lines.append(f"left as references, which have to hold the same: {listed(writing.kept)}")
    if others:
        lines.append(f"in this layer and not in what was imported: {listed(others)}")
    if found := _clear_text(values):
        lines.append(f"probably secrets, and in clear text there: {listed(found)}")
    if not target.plan:
        lines.append(f"read back: {_count(len(values) - len(writing.kept))}, byte by byte the same")
    return lines


def _tell_uncommitted(settings: Settings) -> None:
    """Where there is a repository that git can use; an import does without one."""
    from bootstrap.world.config.git_repository import open_repository  # noqa: PLC0415 - not for --help

    try:
        repository = open_repository(settings.box.config)
    except BootstrapError:
        return
    if repository is not None:
        say(_UNCOMMITTED)


def _propose(settings: Settings, target: Target) -> None:
    """Say what could be shared now; a repository that cannot be surveyed as a whole has other worries."""
    if target.mode is None or target.service is None or target.plan:
        return
    from bootstrap.world.config.sharing import find_shares  # noqa: PLC0415 - not for --help

    try:
        layer, shares = find_shares(settings.box, target.mode)
    except Refused:
        return
    if shares:
        keys = listed(share.key for share in shares)
        say(f'alike in every service, and could stand once in config/{layer}: {keys} ("{_SHARE} {target.mode}")')


def _count(number: int) -> str:
    return f"{number} key" if number == 1 else f"{number} keys"
