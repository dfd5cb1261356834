"""Plan → the program that ``run`` runs once, in a service's environment, user and directory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bootstrap.errors import TagError
from bootstrap.spelling import did_you_mean, listed, quoted

if TYPE_CHECKING:
    from bootstrap.plan import Plan, Program

PROCESS = "run"


def resolve_oneoff(plan: Plan, service: str) -> Plan:
    """The same plan with one more program, ``<service>-run``; raises TagError for a service that is not planned.

    It stands at the end, has no port and everything else of the service's first process.
    """
    for program in plan.programs:
        if program.service.name == service:
            process = replace(program.process, name=PROCESS, port=None)
            oneoff = replace(program, name=f"{service}-{PROCESS}", process=process, port=None)
            return replace(plan, programs=(*plan.programs, oneoff))
    known = {program.name: program.service.name for program in plan.programs}
    cannot = f"cannot run something in service {quoted(service)}"
    if service in known:
        raise TagError(f"{cannot}: that is a program\n  way out: name its service, {known[service]}")
    services = set(known.values())
    raise TagError(
        f"{cannot}: this box does not run it{did_you_mean(service, services)}\n"
        f"  way out: name a service of this box ({listed(services)}), or let the tags choose another one"
    )


def oneoff_of(plan: Plan) -> Program:
    """The program that ``resolve_oneoff`` has added."""
    return plan.programs[-1]
