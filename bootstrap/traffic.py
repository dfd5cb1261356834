"""Plan → what of this box gets traffic: target groups, a DNS name, and the programs whose ports they reach.

Target groups come from tag `bootstrap:target-groups`, else from the definition of the service that the box is for. They
reach that service's only process with a port, or its `web`. A box that runs everything has one front: the service that
nothing else needs. Two that could be meant are an error, because the wrong port would get strangers' requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootstrap.errors import DefinitionError
from bootstrap.frozen import dataclass
from bootstrap.spelling import listed, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bootstrap.plan import Plan, Program

_FRONT = "web"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Where requests come from and go to."""

    groups: tuple[str, ...] = ()  # names or ARNs of target groups
    dns: str | None = None
    ports: Mapping[str, int]  # by program; without groups none

    def serves(self, programs: Iterable[str]) -> bool:
        """Whether requests reach one of these."""
        return any(program in self.ports for program in programs)


def resolve_traffic(plan: Plan) -> Traffic | None:
    """Raises DefinitionError where target groups are named and no single process is meant."""
    identity = plan.identity
    own = {program.service.name: program.service for program in plan.programs}.get(identity.service or "")
    groups = identity.target_groups or (own.target_groups if own is not None else ())
    if not groups and identity.dns is None:
        return None
    ports = _front_ports(plan, groups) if groups else {}
    return Traffic(groups=groups, dns=identity.dns, ports=ports)


def render_traffic(traffic: Traffic | None) -> dict[str, Any] | None:
    """As JSON has it."""
    if traffic is None:
        return None
    return {"groups": list(traffic.groups), "dns": traffic.dns, "ports": dict(traffic.ports)}


def parse_traffic(raw: Mapping[str, Any] | None) -> Traffic | None:
    """The inverse."""
    return None if raw is None else Traffic(groups=tuple(raw["groups"]), dns=raw["dns"], ports=dict(raw["ports"]))


def _front_ports(plan: Plan, groups: tuple[str, ...]) -> dict[str, int]:
    candidates = [program for program in _front_programs(plan) if program.port is not None]
    processes = {(program.service.name, program.process.name) for program in candidates}
    if len(processes) > 1:
        candidates = [program for program in candidates if program.process.name == _FRONT]
        chosen = {(program.service.name, program.process.name) for program in candidates}
    else:
        chosen = processes
    if len(chosen) != 1:
        raise DefinitionError(_unclear(groups, sorted(processes)))
    return {program.name: program.port for program in candidates if program.port is not None}


def _front_programs(plan: Plan) -> list[Program]:
    service = plan.identity.service
    if service is not None:
        return [program for program in plan.programs if program.service.name == service]
    needed = {need for program in plan.programs for need in program.service.needs}
    return [p for p in plan.programs if p.service.name not in needed and not p.service.backing]


def _unclear(groups: tuple[str, ...], processes: list[tuple[str, str]]) -> str:
    found = listed(f"{service} {process}" for service, process in processes)
    cause = f"several processes have a port ({found})" if processes else "no process of its front service has a port"
    return (
        f"cannot register with target group {quoted(groups[0])}: {cause}\n"
        f'  way out: give the one that serves a port and the name "{_FRONT}", or name one with tags bootstrap:service '
        "and bootstrap:process"
    )
