"""A runit service directory → the nodes that a service.yaml of the same meaning would have.

What each file means is runsv(8)'s: `run` is the program; `finish` follows each of its ends; `check` says whether it is
ready; `down` leaves the start to a person; `control/t` may stand for TERM; `log/run` gets its standard output. runsv
waits for ever once it has sent a signal; here KILL follows after a minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bootstrap.strict_yaml import Map, Node

PROCESS = "run"
EXECUTABLES = ("run", "finish", "check", "control/t", "log/run")
FILES = (*EXECUTABLES, "down")

Definition = dict[str, "str | Definition"]


def define(found: Collection[str]) -> Definition:
    """The definition of a directory that holds these of ``FILES``."""
    process: Definition = {"command": "exec ./run"}
    if "check" in found:
        process["ready"] = {"exec": "./check"}
    if "finish" in found:
        process["finish"] = "./finish"
    if "log/run" in found:
        process["log"] = "cd log && exec ./run"
    if "down" in found:
        process["start"] = "by-hand"
    process["stop"] = {"grace": "60s", **({"script": "./control/t", "instead": "true"} if "control/t" in found else {})}
    return {"processes": {PROCESS: process}}


def parse_service_directory(listing: str) -> Map:
    """The same as nodes; ``listing`` holds one of ``FILES`` a line. There are no lines of text to point at."""
    return _map(define(listing.split("\n")))


def _map(definition: Mapping[str, str | Definition]) -> Map:
    from bootstrap.strict_yaml import Map, Scalar  # noqa: PLC0415 - an `up` of nothing needs the names alone, and no YAML

    entries: list[tuple[Node, Node]] = [
        (Scalar(key, 1), Scalar(value, 1) if isinstance(value, str) else _map(value))
        for key, value in definition.items()
    ]
    return Map(tuple(entries), 1)
