"""Plan → where the services of this box are reached: ``API_HOST``, ``API_PORT``, ``API_URL``.

A service is reached at the port of its process ``web``, else of the first that has one, in the order of the definition;
of several instances at the first. A service without a port has no address. The URL says ``http`` where something says
that the port speaks it (the name ``web``, an http probe), and ``tcp`` elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.definition import Http
from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.definition import Process, Service
    from bootstrap.plan import Plan

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The door of one service."""

    service: Service
    process: Process
    port: int

    @property
    def variables(self) -> dict[str, str]:
        """What other programs are told."""
        prefix = self.service.name.upper().replace("-", "_")
        if prefix[0].isdigit():
            prefix = f"_{prefix}"  # no variable may begin with a digit
        scheme = "http" if _speaks_http(self.process) else "tcp"
        return {
            f"{prefix}_HOST": HOST,
            f"{prefix}_PORT": str(self.port),
            f"{prefix}_URL": f"{scheme}://{HOST}:{self.port}",
        }


def find_addresses(plan: Plan) -> Iterator[Address]:
    """The address of every planned service that has one."""
    ports: dict[tuple[str, str], int] = {}
    for program in plan.programs:
        if program.port is not None:
            place = (program.service.name, program.process.name)
            ports[place] = min(program.port, ports.get(place, program.port))
    for service in {program.service.name: program.service for program in plan.programs}.values():
        for process in sorted(service.processes.values(), key=lambda process: process.name != "web"):
            port = ports.get((service.name, process.name))
            if port is not None:
                yield Address(service=service, process=process, port=port)
                break


def _speaks_http(process: Process) -> bool:
    probes = (process.ready, process.check.probe if process.check else None)
    return process.name == "web" or any(isinstance(probe, Http) for probe in probes)
