"""Plan + environment → Generation: files, fingerprints.

A program's fingerprint covers everything that decides how it runs and how it is stopped, and nothing else: a changed
readiness probe is a new generation but restarts nothing. Digests are keyed with the box's own key, so that neither a
fingerprint in a process list nor a digest on disk can be tried against guessed values.
"""

from __future__ import annotations

import json
import os.path
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from bootstrap.checkout import describe_code, render_code
from bootstrap.command import complete_command, leaves_a_shell
from bootstrap.definition import render_check, render_probe
from bootstrap.digest import digest_of
from bootstrap.errors import DefinitionError
from bootstrap.launcher import Credentials, Launch, quote, render_env, render_run, shell_names
from bootstrap.rendering import Generation, Rendering, StoreEntry, Unit, render_summary
from bootstrap.traffic import render_traffic, resolve_traffic
from bootstrap.variable import Account

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.definition import Code, Process, Service
    from bootstrap.plan import Plan, Program
    from bootstrap.variable import Environment

_NOBODY = Account(name="", uid=-1, gid=-1, home="/")
RENDERER = 2  # counted up when the launcher's text changes in a way that running programs must follow


def render_generation(
    plan: Plan,
    environments: Mapping[str, Environment],
    accounts: Mapping[str, Account],
    *,
    me: int,
    store: str,
    key: bytes,
    versions: Mapping[str, str] | None = None,
) -> Rendering:
    """Render every program of the plan.

    ``environments`` and ``accounts`` are by program name; ``me`` is the uid that bootstrap runs as, ``store`` the
    directory that the entries will stand in, ``key`` the box's secret for digests, ``versions`` those of secrets, by
    the file that refers to them. A version is no part of a fingerprint: a new one of the same value restarts nothing.

    Raises DefinitionError for variables that no shell can carry.
    """
    _refuse_shell_names(plan, environments)
    planned = {program.service.name for program in plan.programs}
    units, entries = [], []
    for program in plan.programs:
        launch = launch_of(program, accounts[program.name], me, os.path.dirname(store))
        unit, entry = _render_program(program, launch, environments[program.name], planned, store, key)
        entry = _with_versions(entry, environments[program.name], versions or {})
        units.append(unit)
        entries.append(entry)
    identity = plan.identity
    health = {program.service.name: program.service.health for program in plan.programs}.get(identity.service or "")
    body = Generation(
        id="",
        mode=identity.mode,
        service=identity.service,
        health=None if health is None else asdict(health),
        traffic=render_traffic(resolve_traffic(plan)),
        units=tuple(units),
        sources=tuple(render_code(code) for code in _codes(plan)),
    )
    generation = replace(body, id=digest_of(render_summary(body), 8, key))
    return Rendering(generation=generation, entries=tuple(entries))


def launch_of(program: Program, account: Account, me: int, pipes: str | None = None) -> Launch:
    """How a program is started, as far as that is not its environment; ``me`` is the uid that starts it.

    ``pipes`` is the directory of the pipes between programs and their loggers, where it is to use them.
    """
    credentials = Credentials(uid=account.uid, gid=account.gid, user=account.name) if account.uid != me else None
    return Launch(
        program=program.name,
        command=complete_command(program.process.command),
        directory=working_directory(program),
        credentials=credentials,
        limits=program.process.limits,
        output=f"{pipes}/pipe-{program.name}" if pipes and program.process.log is not None else None,
        input=f"{pipes}/pipe-{program.writer}" if pipes and program.writer is not None else None,
        below=_fetched_directory(program.service) if credentials is not None else None,
    )


def _fetched_directory(service: Service) -> str | None:
    """The working directory in code that was fetched, which belongs to the service's user."""
    return service.directory if service.code is not None and service.directory != "." else None


def _render_program(
    program: Program, launch: Launch, environment: Environment, planned: set[str], store: str, key: bytes
) -> tuple[Unit, StoreEntry]:
    process = program.process
    values = {name: variable.value for name, variable in environment.variables.items()}
    env = render_env(launch, values).encode(errors="surrogateescape")
    known = _facts(program, launch, environment, key)
    facts = json.dumps(known).encode()
    decisive = json.dumps({name: fact for name, fact in known.items() if name not in {"file", "env", "code"}}).encode()
    fingerprint = digest_of(b"%d\0%s\0%s" % (RENDERER, decisive, env), 10, key)
    unit = Unit(
        name=program.name,
        service=program.service.name,
        process=process.name,
        fingerprint=fingerprint,
        wave=program.wave,
        needs=tuple(need for need in program.service.needs if need in planned),
        port=program.port,
        ready=render_probe(process.ready),
        check=render_check(process.check),
        stop_signal=process.stop.signal,
        stop_grace_s=process.stop.grace_s,
        stop_script=process.stop.script,
        stop_group=leaves_a_shell(process.command),
        reload=process.reload,
        restart_window_s=process.restart.window_s,
        restart_starts=process.restart.starts,
        setup=program.service.setup,
        by_hand=process.start == "by-hand",
        stop_instead=process.stop.instead,
    )
    run = render_run(launch, f"{store}/{unit.store_name}/env")
    files = {
        "run": (run.encode(errors="surrogateescape"), 0o700),
        "env": (env, 0o600),
        "program.json": (facts, 0o600),
        "secrets": (json.dumps([v.value for v in environment.variables.values() if v.secret]).encode(), 0o600),
    }
    if process.stop.script is not None:
        files["control/t"] = (_render_script(process.stop.script, f"{store}/{unit.store_name}", launch), 0o700)
    if process.finish is not None:
        files["finish"] = (_render_script(f'{process.finish} "$@"', f"{store}/{unit.store_name}", launch), 0o700)
    for letter, script in process.control.items():
        files[f"control/{letter}"] = (_render_script(script, f"{store}/{unit.store_name}", launch), 0o700)
    return unit, StoreEntry(name=unit.store_name, files=files)


def _with_versions(entry: StoreEntry, environment: Environment, versions: Mapping[str, str]) -> StoreEntry:
    """Let the facts say which version of each secret this is, for the reasons of a later restart."""
    if not versions:
        return entry  # most boxes: there is no need to look at every key
    found = {
        name: versions[variable.file] for name, variable in environment.variables.items() if variable.file in versions
    }
    facts, mode = entry.files["program.json"]
    told = json.dumps(json.loads(facts) | ({"versions": found} if found else {})).encode()
    return replace(entry, files={**entry.files, "program.json": (told, mode)})


def working_directory(program: Program) -> str:
    """Where the program starts, absolute."""
    service = program.service
    return service.folder if service.directory == "." else f"{service.folder}/{service.directory}"


def _render_script(script: str, entry: str, launch: Launch) -> bytes:
    """``control/t`` or ``finish``, called as runsv would: environment, user, directory and logger are the program's."""
    line = f'exec /bin/sh {quote(entry)}/run /bin/sh -c {quote(script)} sh "$@"'
    output = f"[ ! -p {quote(launch.output)} ] || exec 1<>{quote(launch.output)}\n" if launch.output else ""
    return f"#!/bin/sh\n{output}{line}\n".encode(errors="surrogateescape")


def describe_program(program: Program, environment: Environment, key: bytes) -> dict[str, Any]:
    """What an explanation of a restart needs to know about a program, wherever it may run; ``key`` is for digests."""
    known = _facts(program, launch_of(program, _NOBODY, _NOBODY.uid), environment, key)
    return {**known, "user": program.process.user, "command": program.process.command}


def _facts(program: Program, launch: Launch, environment: Environment, key: bytes) -> dict[str, Any]:
    """What an explanation of a restart needs to know about a program, without its values.

    Where a value stands is told and decides nothing: moving it to another layer restarts nobody. What a checkout is
    called is told too; its directory decides.
    """
    process = program.process
    return {
        "file": program.service.file,
        "command": launch.command,
        "directory": launch.directory,
        "user": None if launch.credentials is None else [launch.credentials.uid, launch.credentials.gid],
        "limits": asdict(launch.limits),
        "stop": _describe_stop(process),
        "restart": asdict(process.restart),
        **({"finish": process.finish} if process.finish else {}),
        **({"control": dict(process.control)} if process.control else {}),
        **({"log": True} if process.log else {}),  # what the logger does is its own affair
        **({"reads": program.writer} if program.writer else {}),
        **({"code": _describe_checkout(program.service)} if program.service.code else {}),
        "env": {
            name: [digest_value(program.service, variable.value, key), variable.file]
            for name, variable in environment.variables.items()
        },
    }


def digest_value(service: Service, value: str, key: bytes) -> str:
    """What stands for a value in explanations; where a fetched service's code stands is no difference worth a word."""
    told = value if service.source is None else value.replace(service.folder, "<code>")
    return digest_of(told.encode(errors="surrogateescape"), 8, key)


def _codes(plan: Plan) -> list[Code]:
    found = {program.service.name: program.service.code for program in plan.programs}
    return [code for _, code in sorted(found.items()) if code is not None]


def _describe_checkout(service: Service) -> dict[str, str]:
    assert service.code is not None  # noqa: S101 - the caller has looked; this tells the type checker
    return {"words": describe_code(service.code), "folder": service.folder}


def _describe_stop(process: Process) -> dict[str, Any]:
    known = asdict(process.stop) | {"group": leaves_a_shell(process.command)}
    if not process.stop.instead:
        del known["instead"]  # what few have is said only of them: so it changes no other fingerprint
    return known


def _refuse_shell_names(plan: Plan, environments: Mapping[str, Environment]) -> None:
    problems = [
        f'cannot set "{name}" for "{program.name}": the shell keeps this name for itself\n'
        f"  where: {environments[program.name].variables[name].file}\n"
        f"  way out: give the variable another name"
        for program in plan.programs
        for name in shell_names(environments[program.name].variables)
    ]
    if problems:
        raise DefinitionError(*problems)
