"""Identity + definitions → Plan: programs in waves.

A mode that runs everything runs every service; where the tags name a service all the same, it and whatever it needs,
directly or through others. A mode that runs one runs the named service alone, a backing service only when it is the one
named. `bootstrap:process` narrows the named service, not what it needs. A scale is for every planned process of that
name.

A program of wave n is started when the programs of the services that its service needs are ready. Needs that are not
planned on this box (a production box runs one service) are somebody else's and do not hold anything up.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bootstrap.definition import Catalog, Logger, Process, Service, program_names
from bootstrap.errors import DefinitionError, TagError
from bootstrap.frozen import dataclass
from bootstrap.spelling import did_you_mean, listed, quoted
from bootstrap.waves import count_waves

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from bootstrap.identity import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One supervised process instance: ``api-web``, ``api-worker-2``."""

    name: str
    service: Service
    process: Process
    instance: int  # counted from 1
    port: int | None
    wave: int  # counted from 0
    writer: str | None = None  # of a logger: the program whose output it reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What this box is going to run, in order of waves, then names."""

    identity: Identity
    programs: tuple[Program, ...]


def resolve_plan(identity: Identity, catalog: Catalog) -> Plan:
    """Choose services, processes and instances; raises TagError for tags that fit no definition.

    Raises DefinitionError for programs that cannot stand side by side.
    """
    refs = [*_unknown_refs(identity, catalog)]
    problems = [*_unfit_mode(identity, catalog), *_unfit_service(identity, catalog)]
    if problems:
        raise TagError(*problems, *refs)
    services = _planned_services(identity, catalog)
    processes = [(service, process) for service in services for process in _planned_processes(identity, service)]
    problems = [*refs, *_unfit_scale(identity.scale, processes)]
    if problems:
        raise TagError(*problems)
    waves = count_waves({service.name: service.needs for service in services})
    programs = [
        program
        for service, process in processes
        for program in _instances(
            service, process, identity.scale.get(process.name, process.instances), waves[service.name]
        )
    ]
    box_service = catalog.services.get(identity.service or "")
    clashes = [*_equal_names(_with_loggers(programs)), *_equal_ports(programs, box_service)]
    if clashes:
        raise DefinitionError(*clashes)
    programs = _with_loggers(programs)
    return Plan(identity=identity, programs=tuple(sorted(programs, key=lambda program: (program.wave, program.name))))


def _unfit_mode(identity: Identity, catalog: Catalog) -> Iterator[str]:
    mode = catalog.modes.get(identity.mode)
    if mode is None:
        hint = _hint(identity.mode, "modes", catalog.modes)
        yield f"cannot use mode {quoted(identity.mode)}: no such mode{hint}"
    elif mode.runs == "one" and identity.service is None:
        yield (
            f"cannot use mode {quoted(mode.name)}: it runs one service, and tag bootstrap:service is not set "
            f"(services: {listed(catalog.services)})"
        )


def _unfit_service(identity: Identity, catalog: Catalog) -> Iterator[str]:
    if identity.service is None:
        if identity.process is not None:
            yield (
                f"cannot use process {quoted(identity.process)}: a process is one of a service, and tag "
                f"bootstrap:service is not set (services: {listed(catalog.services)})"
            )
        return
    service = catalog.services.get(identity.service)
    if service is None:
        hint = _hint(identity.service, "services", catalog.services)
        yield f"cannot use service {quoted(identity.service)}: no such service{hint}"
    elif identity.process is not None and identity.process not in service.processes:
        hint = _hint(identity.process, "processes", service.processes)
        yield f"cannot use process {quoted(identity.process)}: service {quoted(service.name)} has no such process{hint}"


def _unknown_refs(identity: Identity, catalog: Catalog) -> Iterator[str]:
    for name in identity.refs:
        if name not in catalog.services:
            hint = _hint(name, "services", catalog.services)
            yield f"cannot use tag {quoted(f'bootstrap:ref.{name}')}: no such service{hint}"


def find_idle_refs(plan: Plan, catalog: Catalog) -> Iterator[str]:
    """Tags that name a ref where there is no source to take it from, each with why."""
    identity = plan.identity
    if identity.ref is not None and all(program.service.source is None for program in plan.programs):
        yield "bootstrap:ref: no service of this box has a source"
    for name in sorted(identity.refs):
        if catalog.services[name].source is None:
            yield f"bootstrap:ref.{name}: service {name} has no source"


def _planned_services(identity: Identity, catalog: Catalog) -> list[Service]:
    if identity.service is None:
        return list(catalog.services.values())
    if catalog.modes[identity.mode].runs == "one":
        return [catalog.services[identity.service]]
    chosen, waiting = {identity.service}, [identity.service]
    while waiting:
        needs = set(catalog.services[waiting.pop()].needs) - chosen
        chosen |= needs
        waiting += needs
    return [service for service in catalog.services.values() if service.name in chosen]


def _planned_processes(identity: Identity, service: Service) -> Collection[Process]:
    if identity.process is None or service.name != identity.service:
        return service.processes.values()
    return (service.processes[identity.process],)


def _unfit_scale(scale: Mapping[str, int], processes: Iterable[tuple[Service, Process]]) -> Iterator[str]:
    planned = {process.name for _, process in processes}
    for name in scale:
        if name not in planned:
            hint = _hint(name, "processes", planned)
            yield f"cannot scale process {quoted(name)}: no such process is planned{hint}"
    for service, process in processes:
        instances = scale.get(process.name, 0)
        if process.port is not None and process.port + instances > 65536:
            yield (
                f"cannot scale process {quoted(process.name)} to {instances}: service {quoted(service.name)} gives it "
                f"port {process.port}, and the last port is 65535"
            )


def _instances(service: Service, process: Process, instances: int, wave: int) -> Iterator[Program]:
    for index, name in enumerate(program_names(service.name, process.name, instances)):
        port = None if process.port is None else process.port + index
        yield Program(name=name, service=service, process=process, instance=index + 1, port=port, wave=wave)


def _with_loggers(programs: list[Program]) -> list[Program]:
    """A logger is a program of its own, restarted on its own, a wave earlier: there before and after its writer."""
    loggers = [_logger(program, program.process.log) for program in programs if program.process.log is not None]
    if not loggers:
        return programs
    doubled = [replace(program, wave=2 * program.wave + 1) for program in programs]
    return [*(replace(logger, wave=2 * logger.wave) for logger in loggers), *doubled]


def _logger(program: Program, log: Logger) -> Program:
    process = program.process
    logger = Process(
        name=f"{process.name}-log",
        command=log.command,
        user=process.user,
        start=log.start,
        ready=log.ready,
        restart=process.restart,
    )
    return replace(program, name=f"{program.name}-log", process=logger, port=None, writer=program.name)


def _equal_names(programs: Iterable[Program]) -> Iterator[str]:
    """The catalog refuses what is equal by itself; a scale can still make `web` twice meet a process `web-2`."""
    taken: dict[str, Program] = {}
    for program in programs:
        other = taken.setdefault(program.name, program)
        if other is not program:
            yield (
                f'cannot plan program "{program.name}": process "{other.process.name}" and process '
                f'"{program.process.name}" both come to this name\n'
                f"  where: {_files(other.service, program.service)}\n"
                "  way out: rename one of them, or scale it differently"
            )


def _equal_ports(programs: Iterable[Program], boxs_service: Service | None) -> Iterator[str]:
    taken: dict[int, tuple[str, Service]] = {}
    if boxs_service is not None and boxs_service.health is not None:
        taken[boxs_service.health.port] = ("the health endpoint", boxs_service)
    for program in programs:
        if program.port is None:
            continue
        user, service = taken.setdefault(program.port, (f'program "{program.name}"', program.service))
        if user != f'program "{program.name}"':
            yield (
                f'cannot plan program "{program.name}": port {program.port} is also the port of {user}\n'
                f"  where: {_files(service, program.service)}\n"
                "  way out: give one of them another port"
            )


def _files(*services: Service) -> str:
    return ", ".join(dict.fromkeys(service.file for service in services))


def _hint(word: str, noun: str, valid: Iterable[str]) -> str:
    """`; did you mean "api"? (services: api, db)`."""
    words = list(valid)
    return f"{did_you_mean(word, words)} ({noun}: {listed(words)})"
