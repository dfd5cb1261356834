"""What would fail after the first stop is found before it: directories, tools, ports."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any

from bootstrap.errors import ApplyFailed, DefinitionError, Unavailable
from bootstrap.reconcile import Action, Replace, Start
from bootstrap.spelling import quoted
from bootstrap.world import processes, store
from bootstrap.world.facts import read_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bootstrap.box import Box

_TOOLS = {"/usr/bin/setpriv": "util-linux", "/usr/bin/env": "coreutils", "/bin/sh": "dash"}


def check(box: Box, actions: Iterable[Action]) -> dict[str, str]:
    """Raise DefinitionError or ApplyFailed, with all problems, if these actions can't end well.

    The answer is which programs must not be started, and why: what is wrong with code that was fetched may be the work
    of the service that it belongs to, and no other has to suffer for that.
    """
    coming = [action for action in actions if isinstance(action, Start | Replace)]
    if not coming:
        return {}
    if missing := find_missing_tools():
        raise DefinitionError(*missing)
    facts = read_facts(box, [action.unit.store_name for action in coming])
    _check_store(
        box, {action.program: action.unit.store_name for action in coming if action.unit.store_name not in facts}
    )
    known = {action.program: facts[action.unit.store_name] for action in coming}
    if missing := find_missing_directories({name: one for name, one in known.items() if "code" not in one}):
        raise DefinitionError(*missing)
    if taken := find_taken_ports(box, coming):
        raise ApplyFailed("\n".join(taken))
    fetched = {name: find_missing_directories({name: one}) for name, one in known.items() if "code" in one}
    return {name: problem for name, problems in fetched.items() for problem in problems}


def find_problems(box: Box, actions: Iterable[Action], facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """All that ``check`` would refuse, told by somebody who changes nothing; ``facts`` are by store name."""
    coming = [action for action in actions if isinstance(action, Start | Replace)]
    known = {action.program: facts[action.unit.store_name] for action in coming}
    known = {program: one for program, one in known.items() if not _is_to_be_fetched(one)}
    return [*find_missing_tools(), *find_missing_directories(known), *find_taken_ports(box, coming)]


def find_missing_directories(known: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One problem for each program whose working directory is not there; ``known`` are their facts, by name."""
    return [
        f'cannot start "{program}": its directory "{facts["directory"]}" does not exist\n'
        f"  where: {facts['file']}: directory\n  way out: make it, or name another one"
        for program, facts in known.items()
        if not os.path.isdir(facts["directory"])
    ]


def find_taken_ports(box: Box, actions: Iterable[Action]) -> list[str]:
    """One problem for each program to be started whose port somebody else listens on."""
    coming = [action for action in actions if isinstance(action, Start | Replace)]
    return [problem for action in coming if (problem := _check_port(box, action)) is not None]


def _is_to_be_fetched(facts: Mapping[str, Any]) -> bool:
    return "code" in facts and not os.path.isdir(facts["code"]["folder"])


def _check_store(box: Box, damaged: Mapping[str, str]) -> None:
    """``damaged`` maps programs to store entries without readable facts."""
    if not damaged:
        return
    store.forget_remembered(box)
    raise Unavailable(
        f"cannot start {', '.join(damaged)}: what was rendered for it is damaged\n"
        f"  where: {', '.join(f'{box.store}/{name}' for name in damaged.values())}\n"
        "  way out: run bootstrap up again, which renders it anew"
    )


def find_missing_tools() -> list[str]:
    """The problem, if what starts programs is not installed."""
    missing = [f'"{tool}" (Debian package {package})' for tool, package in _TOOLS.items() if not os.path.exists(tool)]
    if not missing:
        return []
    return [f"cannot start programs on this machine: {', '.join(missing)} is not installed\n  way out: install it"]


def _check_port(box: Box, action: Start | Replace) -> str | None:
    port = action.unit.port
    if port is None:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # as servers do: connections of the past must not count, only somebody who listens
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except PermissionError:
            return None  # the program itself may be allowed to, and says so if not
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return None
        else:
            return None
    pid = _find_listener(port)
    if any(process.pid == pid for process in processes.read_marked(box)):
        return None  # of this box: it is stopped before this one starts
    return (
        f'cannot start "{action.program}": port {port} is in use by {_describe(pid)}\n'
        "  nothing has been changed; way out: end that process, or give one of the two another port"
    )


def _find_listener(port: int) -> int | None:
    import psutil  # noqa: PLC0415 - only when a port is taken

    for connection in psutil.net_connections(kind="tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            return connection.pid
    return None


def _describe(pid: int | None) -> str:
    if pid is None:
        return "a process of another user"
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:  # which anybody can make anything of
            return f"{quoted(file.read().decode(errors='replace').rstrip())} (pid {pid})"
    except OSError:
        return f"pid {pid}"
