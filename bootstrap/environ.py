"""Layers → Environment; every key remembers which layer set it, in which file, and what it shadowed.

Lowest first: ``PATH``, ``HOME`` and ``USER`` · ``env:`` of the definition · where the services of this box are · the
config layers · what bootstrap sets, and the service's own ``runtime.path`` in front of ``PATH``. Nothing is inherited.

A key is a secret when its service or the schema says so, or when any layer refers to a store: a plain value that lies
over a reference is most likely a secret too.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import field
from typing import TYPE_CHECKING, NamedTuple

from bootstrap.addresses import find_addresses
from bootstrap.errors import DefinitionError, MissingVariable, Refused
from bootstrap.frozen import dataclass
from bootstrap.reading.tool_versions import FILE
from bootstrap.rules import judge_values, secret_keys
from bootstrap.spelling import quoted
from bootstrap.variable import PREFIX, Account, Environment, Layer, Reference, Setting, Variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bootstrap.box import Box
    from bootstrap.definition import Service
    from bootstrap.plan import Plan, Program
    from bootstrap.rules import Breach, Rule

__all__ = [
    "Account",
    "Environment",
    "Layer",
    "Layering",
    "Need",
    "Reference",
    "Setting",
    "Variable",
    "layer_environments",
    "layer_names",
    "needed_references",
]
STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layering:
    """The config layers of a root, and the order in which they lie."""

    order: tuple[str, ...]  # directories below config/ with placeholders, lowest first
    layers: Mapping[str, Layer]  # by directory below config/
    rules: Mapping[str, Rule] = field(default_factory=dict)  # by key: what config/schema.yaml says


def layer_names(program: Program, mode: str, order: Iterable[str]) -> tuple[str, ...]:
    """The directories below config/ that this program's environment comes from, lowest first."""
    values = {"{mode}": mode, "{service}": program.service.name, "{process}": program.process.name}
    names: dict[str, None] = {}
    for template in order:
        name = re.sub(r"{\w+}", lambda match: values[match[0]], template)
        names.pop(name, None)  # what comes out twice lies where it is strongest
        names[name] = None
    return tuple(names)


def layer_environments(
    plan: Plan,
    layering: Layering,
    accounts: Mapping[str, Account],
    secrets: Mapping[Reference, str],
    box: Box,
    *,
    incomplete: bool = False,
) -> dict[str, Environment]:
    """The environment of every program, by name; ``accounts`` are by program name too.

    ``secrets`` holds at least what ``needed_references`` names. Raises DefinitionError for names that only bootstrap
    may set; unless ``incomplete`` environments will do, MissingVariable for required keys that are unset, together with
    the values that are not what the schema says (and DefinitionError where those are all that is wrong).
    """
    _refuse_reserved(plan)
    stacking = _Stacking(plan, layering, secrets)
    hidden = secret_keys(layering.rules)
    environments = {
        program.name: _complete(stacking.stack_for(program), program, plan, accounts[program.name], box, hidden)
        for program in plan.programs
    }
    if not incomplete:
        _refuse_unfit(plan, layering, environments)
    return environments


class Need(NamedTuple):
    """Where a reference stands, and which programs' environments it wins in."""

    files: tuple[str, ...]
    programs: tuple[str, ...]


def needed_references(plan: Plan, layering: Layering) -> dict[Reference, Need]:
    """The references that win in some program's environment."""
    marks = {name: _references(layer) for name, layer in layering.layers.items()}
    readers: dict[tuple[str, ...], list[str]] = {}
    for program in plan.programs:
        readers.setdefault(layer_names(program, plan.identity.mode, layering.order), []).append(program.name)
    needed: dict[Reference, tuple[dict[str, None], dict[str, None]]] = {}
    for names, programs in readers.items():
        for index, name in enumerate(names):
            stronger = [layering.layers[above].settings for above in names[index + 1 :]]
            for key, (reference, file) in marks[name].items():
                if not any(key in settings for settings in stronger):
                    files, needing = needed.setdefault(reference, ({}, {}))
                    files[file] = None
                    needing.update(dict.fromkeys(programs))
    return {reference: Need(tuple(files), tuple(programs)) for reference, (files, programs) in needed.items()}


def _references(layer: Layer) -> dict[str, tuple[Reference, str]]:
    return {
        key: (setting.value, setting.file)
        for key, setting in layer.settings.items()
        if isinstance(setting.value, Reference)
    }


def _refuse_reserved(plan: Plan) -> None:
    services = {program.service.name: program.service for program in plan.programs}
    problems = [
        f"cannot set variable {quoted(key)}: names that begin with {PREFIX} are set by bootstrap alone\n"
        f"  where: {service.file}: env/{key}\n"
        "  way out: give the variable another name"
        for service in services.values()
        for key in service.env
        if key.startswith(PREFIX)
    ]
    problems += [
        f'cannot set variable "PORT": process "{process.name}" has a port, and is told it in this variable\n'
        f"  where: {service.file}: env/PORT\n"
        f"  way out: leave one of the two, processes/{process.name}/port"
        for service in services.values()
        for process in service.processes.values()
        if "PORT" in service.env and process.port is not None
    ]
    if problems:
        raise DefinitionError(*problems)


class _Sheet(NamedTuple):
    """What one layer, or several that lie on one another, do to an environment."""

    variables: dict[str, Variable]
    removed: frozenset[str]  # keys that it takes away from whatever lies below
    references: frozenset[str]  # keys that are references in any of the layers
    layers: tuple[Layer, ...]

    def lie_under(self, above: _Sheet) -> _Sheet:
        variables = self.variables | above.variables
        for key in above.removed:
            variables.pop(key, None)
        return _Sheet(
            variables,
            self.removed.difference(above.variables) | above.removed,
            self.references | above.references,
            self.layers + above.layers,
        )


class _Stacking:
    """Lays sheets on one another; what several programs have in common is laid once and kept."""

    def __init__(self, plan: Plan, layering: Layering, secrets: Mapping[Reference, str]) -> None:
        self._mode = plan.identity.mode
        self._layering = layering
        self._secrets = secrets
        self._addresses = _sheet(_addresses(plan))
        self._config: dict[tuple[str, ...], _Sheet] = {}
        self._whole: dict[tuple[str, tuple[str, ...]], _Sheet] = {}

    def stack_for(self, program: Program) -> _Sheet:
        """All layers but those that differ from program to program."""
        service = program.service
        names = layer_names(program, self._mode, self._layering.order)
        if (service.name, names) not in self._whole:
            below = _sheet(_definition(service)).lie_under(self._addresses)
            self._whole[service.name, names] = self._resolve(below.lie_under(self._stack(names)))
        return self._whole[service.name, names]

    def _resolve(self, sheet: _Sheet) -> _Sheet:
        """Put in the values of the references that win."""
        for key in sheet.references & sheet.variables.keys():
            value = next(layer.settings[key].value for layer in reversed(sheet.layers) if key in layer.settings)
            if isinstance(value, Reference):
                sheet.variables[key] = sheet.variables[key]._replace(value=self._secrets[value])
        return sheet

    def _stack(self, names: tuple[str, ...]) -> _Sheet:
        """Config layers; the lowest of them are the same for many services, so every beginning is kept."""
        if not names:
            return _Sheet({}, frozenset(), frozenset(), ())
        if names not in self._config:
            self._config[names] = self._stack(names[:-1]).lie_under(_sheet(self._layering.layers[names[-1]]))
        return self._config[names]


def _sheet(layer: Layer) -> _Sheet:
    variables: dict[str, Variable] = {}
    removed, references = set(), set()
    for key, setting in layer.settings.items():
        value = setting.value
        if isinstance(value, str):
            variables[key] = Variable(key, value, False, layer.name, setting.file)  # noqa: FBT003 - see the type
        elif value is None:
            removed.add(key)
        else:
            references.add(key)
            variables[key] = Variable(key, "", False, layer.name, setting.file)  # noqa: FBT003 - see the type
    return _Sheet(variables, frozenset(removed), frozenset(references), (layer,))


def _mark_secrets(variables: dict[str, Variable], keys: Iterable[str]) -> None:
    for key in keys:
        if key in variables:
            variables[key] = variables[key]._replace(secret=True)


def _definition(service: Service) -> Layer:
    settings = {key: Setting(value=value, file=service.file) for key, value in service.env.items()}
    return Layer(name="env", settings=settings)


def _addresses(plan: Plan) -> Layer:
    settings = {
        key: Setting(value=value, file=address.service.file)
        for address in find_addresses(plan)
        for key, value in address.variables.items()
    }
    return Layer(name="services on this box", settings=settings)


def _complete(
    stack: _Sheet, program: Program, plan: Plan, account: Account, box: Box, hidden: tuple[str, ...]
) -> Environment:
    """Add what differs from program to program, below the stack and above it."""
    base, own = _base(account), _own(program, plan, box)
    variables = dict(stack.variables)
    for key, setting in base.settings.items():
        if key not in variables and key not in stack.removed:
            variables[key] = _variable(key, setting, base)
    for key, setting in own.settings.items():
        variables[key] = _variable(key, setting, own)
    runtime = _runtime(program.service, variables.get("PATH"))
    for key, setting in runtime.settings.items():
        variables[key] = _variable(key, setting, runtime)
    secret = stack.references.union(program.service.secret, hidden)
    _mark_secrets(variables, secret)
    return Environment(variables=variables, layers=(base, *stack.layers, own, runtime), secret=secret)


def _variable(key: str, setting: Setting, layer: Layer) -> Variable:
    """For what bootstrap itself sets, which is always plain text."""
    return Variable(key, str(setting.value), False, layer.name, setting.file)  # noqa: FBT003 - see the type


def _base(account: Account) -> Layer:
    values = {"PATH": STANDARD_PATH, "HOME": account.home, "USER": account.name}
    return Layer(name="base", settings=_by_bootstrap(values))


def _own(program: Program, plan: Plan, box: Box) -> Layer:
    values = {
        "BOOTSTRAP_MODE": plan.identity.mode,
        "BOOTSTRAP_SERVICE": program.service.name,
        "BOOTSTRAP_PROCESS": program.process.name,
        "BOOTSTRAP_PROGRAM": program.name,
        "BOOTSTRAP_INSTANCE": str(program.instance),
        "BOOTSTRAP_DATA": box.data(program.service.name),
    }
    if program.port is not None:
        values["PORT"] = str(program.port)
    return Layer(name="bootstrap", settings=_by_bootstrap(values))


def _by_bootstrap(values: Mapping[str, str]) -> dict[str, Setting]:
    return {key: Setting(value=value, file="bootstrap") for key, value in values.items()}


def _runtime(service: Service, path: Variable | None) -> Layer:
    """``runtime.path`` and the tools in front of what the layers made of PATH.

    An empty entry would mean the working directory.
    """
    directory = posixpath.join(service.folder, service.directory)
    entries = [*(posixpath.normpath(posixpath.join(directory, entry)) for entry in service.path), *service.tools]
    if path is not None and path.value:
        entries.append(path.value)
    in_folder = bool(service.tools) and service.code is None
    file = f"{posixpath.dirname(service.file)}/{FILE}" if in_folder else service.file
    settings = {"PATH": Setting(value=":".join(entries), file=file)} if service.path or service.tools else {}
    return Layer(name="runtime.path", settings=settings)


def _refuse_unfit(plan: Plan, layering: Layering, environments: Mapping[str, Environment]) -> None:
    missing = [
        problem
        for program in plan.programs
        for problem in missing_variables(program, plan.identity.mode, layering, environments[program.name])
    ]
    breaches: dict[Breach, list[str]] = {}  # what several programs find in one file is told once
    for program in plan.programs:
        for breach in judge_values(layering.rules, environments[program.name].variables):
            breaches.setdefault(breach, []).append(program.name)
    unfit = [_unfit(names, breach) for breach, names in breaches.items()]
    if missing or unfit:
        refusal: type[Refused] = MissingVariable if missing else DefinitionError
        raise refusal(*missing, *unfit)


def missing_variables(program: Program, mode: str, layering: Layering, environment: Environment) -> list[str]:
    """What the definition or the schema requires and nothing sets."""
    rules = layering.rules.values()
    required = {rule.key: f"{rule.place} requires it; " for rule in rules if rule.is_required_by(program.service.name)}
    names = layer_names(program, mode, layering.order)
    hidden = {*program.service.secret, *secret_keys(layering.rules)}
    return [
        _missing(program, key, environment, names, required.get(key, ""), is_secret=key in hidden)
        for key in dict.fromkeys((*program.service.requires, *required))
        if key not in environment.variables
    ]


def _unfit(programs: Iterable[str], breach: Breach) -> str:
    names = ", ".join(f'"{name}"' for name in programs)
    return (
        f"cannot start {names}: variable {breach.rule.key} {breach.cause}\n"
        f"  where: {breach.file} ({breach.rule.place})\n"
        "  way out: correct the value, or what the schema says about it"
    )


def _missing(
    program: Program, key: str, environment: Environment, names: tuple[str, ...], why: str, *, is_secret: bool
) -> str:
    directories = [f"config/{name}" for name in names]
    looked = ", ".join([f"env of {program.service.file}", *directories])
    history = environment.history(key)
    removed = f"removed by {history[-1][1].file}; " if history else ""
    return (
        f'cannot start "{program.name}": missing variable {key} ({why}{removed}looked in {looked})\n'
        f"  way out: write its value to {directories[-1]}/{key}"
        + (f", or where it is kept to {key}.ssm or {key}.secret there" if is_secret else "")
    )
