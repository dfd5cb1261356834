"""A service's file, as nodes → Service: one table for each mapping that a definition may hold.

A check's `timeout` is for a single try: 5 s, or `every` where that is shorter. A probe's `timeout` is for getting ready
at all: 30 s, or twice what `alive` asks for. `runtime.path` and stop scripts are relative to the working directory. A
stop script may climb out of that, but never out of the service's folder; a search path may, as an absolute one would.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from bootstrap.definition import (
    Alive,
    Check,
    Exec,
    Health,
    Http,
    Limits,
    Log,
    Logger,
    Probe,
    Process,
    Restart,
    Service,
    Source,
    Stop,
    Tcp,
)
from bootstrap.reading.problem import FlawedError, Problem
from bootstrap.reading.scalars import (
    ADDRESS,
    BOOLEAN,
    COMMAND,
    DIRECTORY,
    GIT,
    NAME_TEXT,
    PATTERN,
    PORT,
    S3,
    SCRIPT,
    SEARCH_PATH,
    SIGNAL,
    SIZE,
    TARGET_GROUP_TEXT,
    TEXT,
    TRUE,
    URL_PATH,
    USER,
    VARIABLE,
    choice,
    duration,
    integer,
)
from bootstrap.reading.schema import Keys, list_of, read_entries, read_fields, record
from bootstrap.reading.strict_yaml import Map, Node, Scalar, line_of, nodes_at
from bootstrap.spelling import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

_LENGTH = duration(may_be_zero=False)
_LENGTH_OR_ZERO = duration(may_be_zero=True)

_CHECK_PROBES: Keys = {
    "http": ("http", URL_PATH),
    "tcp": ("tcp", TRUE),
    "exec": ("exec", COMMAND),
}
_READY_PROBES: Keys = {
    **_CHECK_PROBES,
    "log": ("log", PATTERN),
    "alive": ("alive", _LENGTH_OR_ZERO),
}
_READY: Keys = {**_READY_PROBES, "timeout": ("timeout_s", _LENGTH)}
_CHECK: Keys = {
    **_CHECK_PROBES,
    "timeout": ("timeout_s", _LENGTH),
    "every": ("every_s", _LENGTH),
    "failures": ("failures", integer(1, 1000)),
    "hard": ("hard", BOOLEAN),
    "then": ("then", choice("restart", "nothing")),
}
_STOP: Keys = {
    "signal": ("signal", SIGNAL),
    "grace": ("grace_s", _LENGTH_OR_ZERO),
    "script": ("script", SCRIPT),
    "instead": ("instead", BOOLEAN),
}
_RESTART: Keys = {
    "window": ("window_s", _LENGTH),
    "starts": ("starts", integer(1, 1000)),
}
_LIMITS: Keys = {
    "nofile": ("nofile", integer(1, 2**30)),
    "memory": ("memory", SIZE),
    "processes": ("processes", integer(1, 2**22)),
    "core": ("core", SIZE),
}
# those of runsv(8) but `t`, which is the stop script's, and `u`, which is for the command to begin with
CONTROL_LETTERS = ("1", "2", "a", "c", "d", "h", "i", "k", "p", "q", "x")
_SOURCES: Keys = {"git": ("git", GIT), "s3": ("s3", S3)}
_RUNTIME: Keys = {"path": ("path", list_of(SEARCH_PATH))}
_HEALTH: Keys = {"port": ("port", PORT), "address": ("address", ADDRESS)}


def read_service(name: str, file: str, folder: str, node: Node) -> tuple[Service, list[Problem]]:
    """What the file says, and everything that is wrong with it.

    A service with problems is only good for checks that look across files, so that those are told in the same go.
    """
    try:
        values, problems = read_fields(node, _SERVICE, "processes")
    except FlawedError as flaw:
        return Service(name=name, file=file, folder=folder, processes={}), list(flaw.problems)
    service = Service(name=name, file=file, folder=folder, **{"processes": {}, **values})
    return service, [*problems, *_escapes(service.directory, node)]


def _read_source(node: Node) -> Source:
    values, problems = read_fields(node, _SOURCES)
    kind = _only_key(node, _SOURCES, problems)
    return Source(kind="git" if kind == "git" else "s3", url=values[kind])


def _search_path(path: tuple[str, ...] = ()) -> tuple[str, ...]:
    return path


def _read_setting(key: Scalar, node: Node) -> str:
    VARIABLE(key)
    return TEXT(node)


def _read_processes(node: Node) -> dict[str, Process]:
    if isinstance(node, Map) and not node.entries:
        raise FlawedError(Problem(line=node.line, text="should name at least one process"))
    return read_entries(node, _read_process)


def _read_process(key: Scalar, node: Node) -> Process:
    NAME_TEXT(key)
    values, problems = read_fields(node, _PROCESS, "command")
    process = Process(name=key.text, **{"command": "", **values})
    problems += _port_problems(process, node)
    if problems:
        raise FlawedError(*problems)
    return process


def _read_ready(node: Node) -> Probe:
    values, problems = read_fields(node, _READY)
    kind = _only_key(node, _READY_PROBES, problems)
    after_s = values.get("alive", 0.0)
    timeout_s = values.get("timeout_s", max(30.0, 2 * after_s))
    if timeout_s <= after_s:
        line = line_of(node, "timeout")
        raise FlawedError(Problem(line=line, path=("timeout",), text="should be longer than what alive asks for"))
    return _make_probe(kind, values[kind], timeout_s)


def _read_logger(node: Node) -> Logger:
    if isinstance(node, Scalar):
        return Logger(command=COMMAND(node))
    return _LOGGER(node)


def _read_control(key: Scalar, node: Node) -> str:
    if key.text not in CONTROL_LETTERS:
        raise FlawedError(Problem(line=key.line, text=f"should be one of {', '.join(CONTROL_LETTERS)}"))
    return SCRIPT(node)


def _read_check(node: Node) -> Check:
    values, problems = read_fields(node, _CHECK)
    kind = _only_key(node, _CHECK_PROBES, problems)
    what = values.pop(kind)
    timeout_s = values.pop("timeout_s", min(5.0, values.get("every_s", 10.0)))
    return Check(probe=_make_probe(kind, what, timeout_s), **values)


def _only_key(node: Node, kinds: Keys, problems: list[Problem]) -> str:
    """Which of these keys the mapping holds; raises FlawedError unless it is exactly one, and all else is well."""
    found = [path[0] for path, _ in nodes_at(node, "*") if path[0] in kinds]
    if len(set(found)) > 1 or not (found or problems):
        problems.append(Problem(line=node.line, text=f"should hold exactly one of {', '.join(kinds)}"))
    if problems:
        raise FlawedError(*problems)
    return found[0]


def _make_probe(kind: str, what: Any, timeout_s: float) -> Probe:
    match kind:
        case "http":
            return Http(path=what, timeout_s=timeout_s)
        case "tcp":
            return Tcp(timeout_s=timeout_s)
        case "exec":
            return Exec(command=what, timeout_s=timeout_s)
        case "log":
            return Log(pattern=what, timeout_s=timeout_s)
        case _:
            return Alive(after_s=what, timeout_s=timeout_s)


def _port_problems(process: Process, node: Node) -> Iterator[Problem]:
    if process.port is not None and process.port + process.instances > 65536:
        text = f"leaves no port for instance {65537 - process.port}; the last port is 65535"
        yield Problem(line=line_of(node, "port"), path=("port",), text=text)
    if nodes_at(node, "port"):
        return
    for path in (("ready", "http"), ("ready", "tcp"), ("check", "http"), ("check", "tcp")):
        for _, probe in nodes_at(node, *path):
            yield Problem(line=probe.line, path=path, text="needs a port; give the process one")


def _escapes(directory: str, node: Node) -> Iterator[Problem]:
    """Paths that climb out of the service's folder."""
    if _climbs_out(directory):
        directory = "."
    for base, pattern in (
        (".", ("directory",)),
        (directory, ("processes", "*", "stop", "script")),
        (directory, ("processes", "*", "finish")),
        (directory, ("processes", "*", "control", "*")),
    ):
        for path, found in nodes_at(node, *pattern):
            if isinstance(found, Scalar) and _climbs_out(posixpath.join(base, found.text)):
                text = f"should stay inside the service's folder, not {quoted(found.text)}"
                yield Problem(line=found.line, path=path, text=text)


def _climbs_out(path: str) -> bool:
    return posixpath.normpath(path).split("/", 1)[0] == ".."


_LOGGER = record(
    Logger,
    {
        "command": ("command", COMMAND),
        "ready": ("ready", _read_ready),
        "start": ("start", choice("always", "by-hand")),
    },
    "command",
)
_PROCESS: Keys = {
    "command": ("command", COMMAND),
    "port": ("port", PORT),
    "instances": ("instances", integer(1, 100)),
    "ready": ("ready", _read_ready),
    "check": ("check", _read_check),
    "stop": ("stop", record(Stop, _STOP)),
    "reload": ("reload", SIGNAL),
    "restart": ("restart", record(Restart, _RESTART)),
    "finish": ("finish", SCRIPT),
    "log": ("log", _read_logger),
    "control": ("control", lambda node: read_entries(node, _read_control)),
    "start": ("start", choice("always", "by-hand")),
    "user": ("user", USER),
    "limits": ("limits", record(Limits, _LIMITS)),
}
_SERVICE: Keys = {
    "description": ("description", TEXT),
    "needs": ("needs", list_of(TEXT)),
    "backing": ("backing", BOOLEAN),
    "directory": ("directory", DIRECTORY),
    "source": ("source", _read_source),
    "runtime": ("path", record(_search_path, _RUNTIME)),
    "setup": ("setup", list_of(COMMAND)),
    "requires": ("requires", list_of(VARIABLE)),
    "env": ("env", lambda node: read_entries(node, _read_setting)),
    "secret": ("secret", list_of(VARIABLE)),
    "health": ("health", record(Health, _HEALTH, "port")),
    "target-groups": ("target_groups", list_of(TARGET_GROUP_TEXT)),
    "processes": ("processes", _read_processes),
}
