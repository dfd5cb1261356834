"""A runit service directory → the nodes that a service.yaml of the same meaning would have.

What each file means is runsv(8)'s: `run` is the program; `finish` follows each of its ends; `check` says whether it is
ready; `down` leaves the start to a person; `control/u` comes before each start, `control/d` and `control/x` after the
signal of a stop, and the others may stand for signals; `log/run` gets its standard output, and `log/check` and
`log/down` are to it what `check` and `down` are to `run`. runsv waits for ever once it has sent a signal; here KILL
follows after a minute. What keeps dying is started again for ever, as by runsv, but ever more slowly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bootstrap.reading.strict_yaml import Map, Node

PROCESS = "run"
_LETTERS = "12acdhikpqx"
CONTROL = tuple(f"control/{letter}" for letter in sorted(f"{_LETTERS}tu"))
EXECUTABLES = ("run", "finish", "check", *CONTROL, "log/run", "log/check")
FILES = (*EXECUTABLES, "down", "log/down")

Definition = dict[str, "str | Definition"]


def define(found: Collection[str]) -> Definition:
    """The definition of a directory that holds these of ``FILES``."""
    process: Definition = {"command": "./control/u; exec ./run" if "control/u" in found else "exec ./run"}
    if "check" in found:
        process["ready"] = {"exec": "./check"}
    if "finish" in found:
        process["finish"] = "./finish"
    if "log/run" in found:
        process["log"] = _define_logger(found)
    if "down" in found:
        process["start"] = "by-hand"
    process["stop"] = {"grace": "60s", **({"script": "./control/t", "instead": "true"} if "control/t" in found else {})}
    process["restart"] = {"starts": "1000"}
    control: Definition = {letter: f"./control/{letter}" for letter in _LETTERS if f"control/{letter}" in found}
    if control:
        process["control"] = control
    return {"processes": {PROCESS: process}}


def _define_logger(found: Collection[str]) -> str | Definition:
    command = "cd log && exec ./run"
    more: Definition = {}
    if "log/check" in found:
        more["ready"] = {"exec": "cd log && exec ./check"}
    if "log/down" in found:
        more["start"] = "by-hand"
    return {"command": command, **more} if more else command


def parse_service_directory(listing: str) -> Map:
    """The same as nodes; ``listing`` holds one of ``FILES`` a line. There are no lines of text to point at."""
    return _map(define(listing.split("\n")))


def _map(definition: Mapping[str, str | Definition]) -> Map:
    from bootstrap.reading.strict_yaml import Map, Scalar  # noqa: PLC0415 - an `up` of nothing needs the names alone, and no YAML

    entries: list[tuple[Node, Node]] = [
        (Scalar(key, 1), Scalar(value, 1) if isinstance(value, str) else _map(value))
        for key, value in definition.items()
    ]
    return Map(tuple(entries), 1)
