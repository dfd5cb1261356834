"""``bootstrap config export``: an environment as another tool reads it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from bootstrap.cli.config_origin import leave_out, without_option
from bootstrap.config.exports import FORMATS, render_export
from bootstrap.errors import Refused
from bootstrap.spelling import did_you_mean, listed, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.cli.settings import Settings
    from bootstrap.variable import Environment, Variable


@click.command(
    short_help="Print an environment for another tool.",
    epilog="Example: bootstrap config export --format docker --service api --mode staging --output api.env",
)
@click.option("--format", "form", required=True, type=click.Choice(FORMATS), help="What will read it.")
@click.option("--service", required=True, metavar="SERVICE", help="The service.")
@click.option("--mode", required=True, metavar="MODE", help="The mode that it runs in.")
@click.option("--process", metavar="PROCESS", help="The process, where they differ.")
@click.option("--reveal", is_flag=True, help="Put secrets in, and resolve references.")
@click.option("--output", metavar="FILE", help="Write to this file, for its owner alone, instead of printing.")
@without_option
@click.pass_obj
def export(
    settings: Settings,
    *,
    form: str,
    service: str,
    mode: str,
    process: str | None,
    reveal: bool,
    output: str | None,
    without: tuple[str, ...],
) -> None:
    """Print what the layers and the definition set for a service; what bootstrap itself sets is left out.

    A value that the format cannot hold unchanged is refused, and nothing is printed.
    """
    from bootstrap.world.config.lookup import read_resolved  # noqa: PLC0415 - not for --help

    environments = read_resolved(settings.box, service, mode, resolve=reveal)
    variables = leave_out(_choose(environments, service, process), without)
    if not reveal:
        _refuse_secrets(variables)
    text = render_export(form, {key: variable.value for key, variable in variables.items()})
    if output is None:
        click.echo(text, nl=False)
        return
    from bootstrap.world import disk  # noqa: PLC0415 - only with --output

    if os.path.lexists(output) and (os.path.islink(output) or not os.path.isfile(output)):
        raise Refused(
            f"cannot write {quoted(output)}: it is no regular file, and would be replaced by one\n"
            "  way out: name a new file, or leave out --output and redirect what is printed"
        )
    disk.write_durably(output, text.encode())


def _choose(environments: Mapping[str, Environment], service: str, process: str | None) -> dict[str, Variable]:
    """What is set for the service on purpose, which is most often the same for all its processes."""
    own = {program: _own(environment) for program, environment in environments.items()}
    if process is not None:
        names = {program: program.removeprefix(f"{service}-").removesuffix("-1") for program in own}
        own = {program: variables for program, variables in own.items() if process == names[program]}
        if not own:
            known = names.values()
            raise Refused(
                f"cannot export process {quoted(process)}: no such process"
                f"{did_you_mean(process, known)} ({listed(known)})"
            )
    first = next(iter(own.values()))
    if any(variables != first for variables in own.values()):
        raise Refused(
            f"cannot export service {quoted(service)}: its processes do not have the same environment\n"
            f"  way out: name one with --process ({listed(own)})"
        )
    return first


def _own(environment: Environment) -> dict[str, Variable]:
    return {
        key: variable
        for key, variable in environment.variables.items()
        if variable.layer == "env" or variable.layer.startswith("config/")
    }


def _refuse_secrets(variables: Mapping[str, Variable]) -> None:
    secrets = [key for key, variable in variables.items() if variable.secret]
    if secrets:
        raise Refused(
            f"cannot export secrets unseen: {listed(secrets)}\n"
            "  way out: put them in with --reveal, or leave them out with --without KEY"
        )
