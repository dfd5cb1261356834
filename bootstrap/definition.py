"""The values that a service definition is made of.

A value that exists is valid; ``catalog.py`` is where refusal happens.
"""

from __future__ import annotations

from dataclasses import asdict, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """Ready when ``GET http://127.0.0.1:PORT<path>`` answers 200 to 399."""

    path: str
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcp:
    """Ready when the port accepts a connection."""

    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exec:
    """Ready when this line of sh, in the program's environment, user and directory, exits 0."""

    command: str
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Ready when a line that this start wrote to the log matches the regular expression."""

    pattern: str
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """Ready when the process has lived this long."""

    after_s: float = 1.0
    timeout_s: float = 30.0


Probe: TypeAlias = Http | Tcp | Exec | Log | Alive


def render_probe(probe: Probe) -> dict[str, Any]:
    """A probe as JSON has it."""
    return {"kind": type(probe).__name__, **asdict(probe)}


def parse_probe(raw: Mapping[str, Any]) -> Probe:
    """The inverse of ``render_probe``."""
    kinds: dict[str, type[Probe]] = {kind.__name__: kind for kind in (Http, Tcp, Exec, Log, Alive)}
    return kinds[raw["kind"]](**{name: value for name, value in raw.items() if name != "kind"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A probe that is repeated while the program runs."""

    probe: Probe
    every_s: float = 10.0
    failures: int = 3
    hard: bool = False
    then: Literal["restart", "nothing"] = "nothing"


def render_check(check: Check | None) -> dict[str, Any] | None:
    """A check as JSON has it."""
    return None if check is None else asdict(check) | {"probe": render_probe(check.probe)}


def parse_check(raw: Mapping[str, Any]) -> Check:
    """The inverse of ``render_check``."""
    return Check(**{**raw, "probe": parse_probe(raw["probe"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The stop ladder: script, signal, grace, KILL."""

    signal: str = "TERM"
    grace_s: float = 10.0
    script: str | None = None
    instead: bool = False  # of the signal, if the script exits 0, as runsv takes `control/t`


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """More starts than ``starts`` inside ``window_s``: failed."""

    window_s: float = 60.0
    starts: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Resource limits; ``None`` leaves the default of the launcher."""

    nofile: int | None = None
    memory: int | None = None  # bytes
    processes: int | None = None
    core: int | None = None  # bytes; without it no core is ever written


@dataclass(frozen=True, slots=True, kw_only=True)
class Logger:
    """What gets a program's standard output on its standard input, as runsv runs `log/run`."""

    command: str  # a line of sh
    ready: Probe = Alive(after_s=0.0)
    start: Literal["always", "by-hand"] = "always"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A named command of a service, as in a Procfile."""

    name: str
    command: str
    port: int | None = None
    instances: int = 1
    ready: Probe = field(default_factory=Alive)
    check: Check | None = None
    stop: Stop = field(default_factory=Stop)
    reload: str | None = None
    restart: Restart = field(default_factory=Restart)
    finish: str | None = None  # a script that is run after every end, with exit code and signal, as runsv runs `finish`
    log: Logger | None = None
    control: Mapping[str, str] = field(default_factory=dict)  # letter of runsv(8) → the script that it has for it
    start: Literal["always", "by-hand"] = "always"
    user: str | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a service's code comes from when it is not the service's own folder."""

    kind: Literal["git", "s3"]
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What a service's source was resolved to."""

    service: str
    kind: Literal["git", "s3"]
    url: str
    wanted: str | None  # the ref that the tags ask for
    is_own: bool  # they ask for it for this service alone
    ref: str  # what was taken: a branch, a tag or a commit; the name of a tarball's version
    version: str  # a whole commit id, or a tarball's version and digest; also the name of its directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Where the box's health endpoint listens when this service is what the box is for."""

    port: int
    address: str = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Something with a definition: one folder under ``services/``."""

    name: str
    file: str  # where the definition stands, relative to the root: services/api/service.yaml
    folder: str  # absolute path of the service's folder
    description: str = ""
    needs: tuple[str, ...] = ()
    backing: bool = False
    directory: str = "."  # relative to the folder
    source: Source | None = None
    code: Code | None = None  # with it, ``folder`` is where that code stands
    path: tuple[str, ...] = ()  # runtime.path, put in front of PATH; relative to the working directory
    tools: tuple[str, ...] = ()  # directories of what `.tool-versions` asks for, after ``path``; absolute
    setup: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secret: tuple[str, ...] = ()
    health: Health | None = None
    target_groups: tuple[str, ...] = ()  # names or ARNs, unless a tag names others
    processes: Mapping[str, Process]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What a box in this mode runs."""

    name: str
    runs: Literal["everything", "one"]
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """All that a root defines."""

    services: Mapping[str, Service]
    modes: Mapping[str, Mode]


def program_names(service: str, process: str, instances: int) -> list[str]:
    """What the instances of a process are called."""
    if instances == 1:
        return [f"{service}-{process}"]
    return [f"{service}-{process}-{instance}" for instance in range(1, instances + 1)]
