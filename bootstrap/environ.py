"""Layers → Environment; every key remembers which layer set it, in which file, and what it shadowed.

Lowest first: ``PATH``, ``HOME`` and ``USER`` · ``env:`` of the definition · where the services of this box are · the
config layers · what bootstrap sets, and the service's own ``runtime.path`` in front of ``PATH``. Nothing is inherited.

Values are text as ``os.environ`` holds it: undecodable bytes are surrogate escapes, so every byte but NUL survives.
What the programs of one service have in common is layered once.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from bootstrap.definition import Http, Process, Service
from bootstrap.errors import DefinitionError, MissingVariable
from bootstrap.spelling import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bootstrap.box import Box
    from bootstrap.plan import Plan, Program

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ADDRESS = "127.0.0.1"
_PREFIX = "BOOTSTRAP_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The user of this machine that a program runs as."""

    name: str
    uid: int
    gid: int
    home: str
    is_other: bool = False  # than the user that bootstrap itself runs as


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A value kept elsewhere: an SSM parameter, or a Secrets Manager id with an optional ``#json-key``."""

    kind: Literal["ssm", "secret"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What one layer says about one key: a value, a reference, or (``None``) that the key is removed."""

    value: str | Reference | None
    file: str  # relative to the root; for values that bootstrap sets, who set it


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One config directory, or one source of values that is not a directory (the definition, bootstrap itself)."""

    name: str
    settings: Mapping[str, Setting]
    shadowed: Mapping[str, Setting] = field(default_factory=dict)  # lines of its .env that its own files lie over


@dataclass(frozen=True, slots=True, kw_only=True)
class Layering:
    """The config layers of a root, and the order in which they lie."""

    order: tuple[str, ...]  # directories below config/ with placeholders, lowest first
    layers: Mapping[str, Layer]  # by directory below config/


History: TypeAlias = tuple[tuple[str, Setting], ...]  # (layer name, setting), strongest last


# A named tuple: a box has a hundred thousand of these, and a frozen dataclass takes three times as long to make.
class Variable(NamedTuple):
    """The effective value of a key and every layer that had a say."""

    key: str
    value: str
    secret: bool
    history: History

    @property
    def layer(self) -> str:
        """The layer that the value comes from."""
        return self.history[-1][0]

    @property
    def file(self) -> str:
        """The file that the value comes from."""
        return self.history[-1][1].file


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Everything that one program will find in its environment, and what was taken out of it again."""

    variables: Mapping[str, Variable]
    removed: Mapping[str, History] = field(default_factory=dict)

    def history(self, key: str) -> History:
        """Every layer that had a say about this key."""
        variable = self.variables.get(key)
        return self.removed.get(key, ()) if variable is None else variable.history


def parse_value(raw: bytes) -> str | None:
    """The content of a variable's file, by the rules of ``chpst -e``; ``None`` removes the variable."""
    if not raw:
        return None
    line = raw.partition(b"\n")[0].rstrip(b" \t").replace(b"\0", b"\n")
    return line.decode(errors="surrogateescape")


def is_reserved(key: str) -> bool:
    """Whether bootstrap alone sets this key."""
    return key == "PORT" or key.startswith(_PREFIX)


def layer_names(program: Program, mode: str, order: Iterable[str]) -> tuple[str, ...]:
    """The directories below config/ that this program's environment comes from, lowest first."""
    values = {"{mode}": mode, "{service}": program.service.name, "{process}": program.process.name}
    names: dict[str, None] = {}
    for template in order:
        name = re.sub(r"{\w+}", lambda match: values[match[0]], template)
        names.pop(name, None)  # what comes out equal counts where it is strongest
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

    ``secrets`` holds at least what ``needed_references`` names. Raises DefinitionError for names that only bootstrap may
    set, and MissingVariable for required keys that are unset, unless ``incomplete`` environments will do.
    """
    _refuse_reserved(plan)
    addresses = _addresses(plan)
    merged: dict[tuple[str, ...], dict[str, History]] = {}
    shared: dict[tuple[str, tuple[str, ...]], Environment] = {}
    environments = {}
    for program in plan.programs:
        names = layer_names(program, plan.identity.mode, layering.order)
        common = shared.get((program.service.name, names))
        if common is None:
            below = _merge([_definition(program.service), addresses])
            common = _resolve(below, _merge_config(names, layering, merged), program.service, secrets)
            shared[program.service.name, names] = common
        environments[program.name] = _complete(common, program, plan, accounts[program.name], secrets, box)
    if not incomplete:
        _refuse_missing(plan, layering, environments)
    return environments


def needed_references(plan: Plan, layering: Layering) -> dict[Reference, tuple[str, ...]]:
    """The references that win in some program's environment, each with the files that it stands in."""
    merged: dict[tuple[str, ...], dict[str, History]] = {}
    needed: dict[Reference, dict[str, None]] = {}
    for names in dict.fromkeys(layer_names(program, plan.identity.mode, layering.order) for program in plan.programs):
        for history in _merge_config(names, layering, merged).values():
            setting = history[-1][1]
            if isinstance(setting.value, Reference):
                needed.setdefault(setting.value, {})[setting.file] = None
    return {reference: tuple(files) for reference, files in needed.items()}


def _refuse_reserved(plan: Plan) -> None:
    services = {program.service.name: program.service for program in plan.programs}.values()
    problems = [
        f"cannot set variable {quoted(key)}: names that begin with {_PREFIX} are set by bootstrap alone\n"
        f"  where: {service.file}: env/{key}\n"
        "  way out: give the variable another name"
        for service in services
        for key in service.env
        if key.startswith(_PREFIX)
    ]
    if problems:
        raise DefinitionError(*problems)


def _definition(service: Service) -> Layer:
    settings = {key: Setting(value=value, file=service.file) for key, value in service.env.items()}
    return Layer(name="env", settings=settings)


def _addresses(plan: Plan) -> Layer:
    """Where each planned service with a port is: ``API_HOST``, ``API_PORT``, ``API_URL``."""
    settings: dict[str, Setting] = {}
    for service, process, port in _doors(plan):
        name = service.name.upper().replace("-", "_")
        if not KEY.fullmatch(name):
            name = f"_{name}"  # it began with a digit
        scheme = "http" if _speaks_http(process) else "tcp"
        values = {"HOST": _ADDRESS, "PORT": str(port), "URL": f"{scheme}://{_ADDRESS}:{port}"}
        for suffix, value in values.items():
            settings[f"{name}_{suffix}"] = Setting(value=value, file=service.file)
    return Layer(name="services on this box", settings=settings)


def _doors(plan: Plan) -> Iterator[tuple[Service, Process, int]]:
    """The port that each service is reached at: that of ``web``, else of the first process that has one."""
    ports = {
        (program.service.name, program.process.name): program.port
        for program in reversed(plan.programs)  # the first instance has the last word
    }
    for service in {program.service.name: program.service for program in plan.programs}.values():
        for process in sorted(service.processes.values(), key=lambda process: process.name != "web"):
            port = ports.get((service.name, process.name))
            if port is not None:
                yield service, process, port
                break


def _speaks_http(process: Process) -> bool:
    probes = (process.ready, process.check.probe if process.check else None)
    return process.name == "web" or any(isinstance(probe, Http) for probe in probes)


def _merge_config(
    names: tuple[str, ...], layering: Layering, merged: dict[tuple[str, ...], dict[str, History]]
) -> dict[str, History]:
    """All that these layers say; ``merged`` keeps what services share, that is every beginning of ``names``."""
    if names not in merged:
        lower = _merge_config(names[:-1], layering, merged) if names else {}
        merged[names] = _merge([layering.layers[name] for name in names[-1:]], lower)
    return merged[names]


def _merge(layers: Iterable[Layer], below: Mapping[str, History] | None = None) -> dict[str, History]:
    histories = dict(below or {})
    for layer in layers:
        for settings in (layer.shadowed, layer.settings):
            for key, setting in settings.items():
                histories[key] = (*histories.get(key, ()), (layer.name, setting))
    return histories


def _resolve(
    below: Mapping[str, History], config: Mapping[str, History], service: Service, secrets: Mapping[Reference, str]
) -> Environment:
    """Both, the second lying over the first; what the programs of one service have in common."""
    histories = dict(config)
    for key, history in below.items():
        histories[key] = (*history, *config.get(key, ()))
    variables: dict[str, Variable] = {}
    removed: dict[str, History] = {}
    for key, history in histories.items():
        _settle(key, history, service, secrets, variables, removed)
    return Environment(variables=variables, removed=removed)


def _complete(
    common: Environment,
    program: Program,
    plan: Plan,
    account: Account,
    secrets: Mapping[Reference, str],
    box: Box,
) -> Environment:
    """What differs from program to program, below and above what they have in common."""
    variables, removed = dict(common.variables), dict(common.removed)
    base = _merge([_base(account)])
    own = _merge([_own(program, plan, box)])
    for key in (*base, *own):
        history = (*base.get(key, ()), *common.history(key), *own.get(key, ()))
        _settle(key, history, program.service, secrets, variables, removed)
    path = _search_path(program.service, variables.get("PATH"))
    if path is not None:
        history = (*variables["PATH"].history, path) if "PATH" in variables else (*removed["PATH"], path)
        _settle("PATH", history, program.service, secrets, variables, removed)
    return Environment(variables=variables, removed=removed)


def _settle(
    key: str,
    history: History,
    service: Service,
    secrets: Mapping[Reference, str],
    variables: dict[str, Variable],
    removed: dict[str, History],
) -> None:
    """Put a key where its strongest setting says."""
    value = history[-1][1].value
    if value is None:
        variables.pop(key, None)
        removed[key] = history
        return
    removed.pop(key, None)
    # A key that is a reference in any layer stays a secret where a plain value lies over it.
    secret = key in service.secret or any(isinstance(setting.value, Reference) for _, setting in history)
    variables[key] = Variable(key, secrets[value] if isinstance(value, Reference) else value, secret, history)


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


def _search_path(service: Service, path: Variable | None) -> tuple[str, Setting] | None:
    """``runtime.path`` in front of what the layers made of PATH; an empty one would mean the working directory."""
    if not service.path:
        return None
    directory = posixpath.join(service.folder, service.directory)
    entries = [posixpath.normpath(posixpath.join(directory, entry)) for entry in service.path]
    if path is not None and path.value:
        entries.append(path.value)
    return "runtime.path", Setting(value=":".join(entries), file=service.file)


def _refuse_missing(plan: Plan, layering: Layering, environments: Mapping[str, Environment]) -> None:
    problems = [
        _missing(program, key, environments[program.name], layer_names(program, plan.identity.mode, layering.order))
        for program in plan.programs
        for key in program.service.requires
        if key not in environments[program.name].variables
    ]
    if problems:
        raise MissingVariable(*problems)


def _missing(program: Program, key: str, environment: Environment, names: tuple[str, ...]) -> str:
    directories = [f"config/{name}" for name in names]
    looked = ", ".join([f"env of {program.service.file}", *directories])
    history = environment.history(key)
    removed = f"removed by {history[-1][1].file}; " if history else ""
    return (
        f'cannot start "{program.name}": missing variable {key} ({removed}looked in {looked})\n'
        f"  way out: write its value to {directories[-1]}/{key}"
    )
