"""Identity + definitions → Plan: programs in waves.

A program of wave n is started when the programs of the services that its service needs are ready. Needs that are not
planned on this box (a production box runs one service) are somebody else's and do not hold anything up.
"""

from __future__ import annotations

from dataclasses import dataclass

from bootstrap.definition import Process, Service
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What this box is going to run, in order of waves, then names."""

    identity: Identity
    programs: tuple[Program, ...]
