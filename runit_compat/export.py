"""Programs + environments → service directories that ``runsvdir`` runs without any bootstrap.

    <program>/run         waits for what it needs, becomes program/run
    <program>/program/    `run` and `env`, as our own supervisor would start them
    <program>/check       whether it is ready: what `sv check`, `sv start` and the `run` of others ask
    <program>/control/t   where a stop is more than TERM: the stop script, another signal, a whole group
    <program>/finish      the definition's own
    <program>/down        where only a person starts it
    <program>/log/run     svlogd, or the logger of the definition

The source of what each file means to runit is runsv(8). What runit has no notion of is left out: the graces of a stop
(`sv -w` has one), restarts that are counted and slowed down, checks of running programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from bootstrap.command import leaves_a_shell
from bootstrap.definition import Alive, Exec, Http, Log, Tcp
from bootstrap.frozen import dataclass
from bootstrap.generation import launch_of
from bootstrap.launcher import quote, render_env, render_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.plan import Plan, Program
    from bootstrap.variable import Account, Environment

# How a `run` waits for what it needs, before runsv lets it try again. `sv check` is content with what is down, and only
# warns of what has no runsv yet; `sv start` would start what somebody has taken down.
_NEED = """\
need() {
    tries=0
    until [ -s "$1/supervise/pid" ]; do
        tries=$((tries + 1))
        [ "$tries" -le 300 ] || exit 1
        sleep 0.1
    done
    sv -w 30 check "$1" >/dev/null || exit 1
}"""

_WORDS = '"$@"'
Files = dict[str, tuple[bytes, int]]  # path → content, mode


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDirectory:
    """What runsv supervises: one program."""

    program: str
    files: Files


def render_service_directories(
    plan: Plan,
    environments: Mapping[str, Environment],
    accounts: Mapping[str, Account],
    *,
    directory: str,
    me: int,
) -> tuple[ServiceDirectory, ...]:
    """Render every program; ``directory`` is the absolute path that they will stand in, ``me`` the uid of runsvdir."""
    return tuple(
        ServiceDirectory(
            program=program.name,
            files=_render(program, environments[program.name], accounts[program.name], plan, directory, me),
        )
        for program in plan.programs
        if program.writer is None
    )


def _render(program: Program, environment: Environment, account: Account, plan: Plan, directory: str, me: int) -> Files:
    here = f"{directory}/{program.name}"
    launch = launch_of(program, account, me)
    values = {name: variable.value for name, variable in environment.variables.items()}
    needed = [p.name for p in plan.programs if p.service.name in program.service.needs and p.writer is None]
    control = {f"control/{letter}": script for letter, script in program.process.control.items()}
    files: Files = {
        "run": (_encode(_render_outer_run(program, here, directory, needed, _render_data(account, values))), 0o700),
        "program/run": (_encode(render_run(launch, f"{here}/program/env")), 0o700),
        "program/env": (_encode(render_env(launch, values)), 0o600),
        "check": (_encode(_render_check(program, here)), 0o700),
        **_render_logger(program, account, values, here, plan, me),
        **{
            path: (_encode(f"#!/bin/sh\nexec {_in_program(here, script)}\n"), 0o700) for path, script in control.items()
        },
    }
    if program.process.finish is not None:
        files["finish"] = (_encode(f"#!/bin/sh\nexec {_in_program(here, program.process.finish)}\n"), 0o700)
    if program.process.start == "by-hand":
        files["down"] = (b"", 0o600)
    stop = _render_control(program, here)
    if stop is not None:
        files["control/t"] = (_encode(stop), 0o700)
    return files


def _render_data(account: Account, values: Mapping[str, str]) -> str:
    owner = f"-o {account.uid} -g {account.gid}"
    return f"install -d -m 700 {owner} {quote(values['BOOTSTRAP_DATA'])} || exit 1"


def _in_program(here: str, script: str) -> str:
    """A command that runs a line of sh in the program's environment, user and directory, with the caller's words."""
    return f'/bin/sh {quote(here)}/program/run /bin/sh -c {quote(script + " " + _WORDS)} sh "$@"'


def _render_logger(
    program: Program, account: Account, values: Mapping[str, str], here: str, plan: Plan, me: int
) -> Files:
    loggers = [other for other in plan.programs if other.writer == program.name]
    if not loggers:
        return {"log/run": (b"#!/bin/sh\nmkdir -p main\nexec svlogd ./main\n", 0o700)}
    launch = launch_of(loggers[0], account, me)
    return {
        "log/run": (_encode(f"#!/bin/sh\nexec /bin/sh {quote(here)}/log/program/run\n"), 0o700),
        "log/program/run": (_encode(render_run(launch, f"{here}/log/program/env")), 0o700),
        "log/program/env": (_encode(render_env(launch, values)), 0o600),
        **_render_logger_state(loggers[0], here),
    }


def _render_logger_state(logger: Program, here: str) -> Files:
    files: Files = {}
    if isinstance(logger.process.ready, Exec):
        files["log/check"] = (_encode(_render_check(logger, f"{here}/log")), 0o700)
    if logger.process.start == "by-hand":
        files["log/down"] = (b"", 0o600)
    return files


def _render_outer_run(program: Program, here: str, directory: str, needed: list[str], data: str) -> str:
    lines = [
        "#!/bin/sh",
        f"# {program.name}, written by `bootstrap export runit`; program/run holds its user, limits and directory.",
        *([] if program.process.log else ["exec 2>&1"]),  # a logger of its own gets what it got: standard output alone
        *([_NEED] if needed else []),
        *(f"need {quote(f'{directory}/{need}')}" for need in needed),
        data,
        *_render_setup(program, here, directory),
        f"exec chpst -P /bin/sh {quote(here)}/program/run",
    ]
    return "\n".join(lines) + "\n"


def _render_setup(program: Program, here: str, directory: str) -> list[str]:
    """Once for all processes of a service, whichever comes first."""
    if not program.service.setup:
        return []
    done = quote(f"{directory}/.setup-{program.service.name}")
    steps = " && ".join(f"/bin/sh {quote(here)}/program/run /bin/sh -c {quote(step)}" for step in program.service.setup)
    return [
        "(",
        "    flock 9 || exit 1",
        f"    [ -s {done} ] || {{ {steps} && echo done >{done}; }}",
        f") 9>>{done} || exit 1",
    ]


def _render_control(program: Program, here: str) -> str | None:
    """runsv runs ``control/t`` when it would send TERM, for `sv term` and `sv down` alike; 0 means that it need not."""
    stop, whole_group = program.process.stop, leaves_a_shell(program.process.command)
    if stop.script is None and stop.signal == "TERM" and not whole_group:
        return None
    lines = ["#!/bin/sh"]
    if stop.script is not None:
        lines.append(_in_program(here, stop.script) + (" && exit" if stop.instead else ""))
    target = "-- -" if whole_group else ""  # chpst -P has made it the leader of a group
    lines.append(f'kill -s {stop.signal} {target}"$(cat {quote(here)}/supervise/pid)"')
    return "\n".join(lines) + "\n"


def _render_check(program: Program, here: str) -> str:
    match program.process.ready:
        case Exec() as probe:
            return f"#!/bin/sh\nexec /bin/sh {quote(here)}/program/run /bin/sh -c {quote(probe.command)}\n"
        case Alive() as probe:
            started = f"$(stat -c %Y {quote(here)}/supervise/pid)"
            return f'#!/bin/sh\n[ "$(($(date +%s) - {started}))" -ge {probe.after_s:.0f} ]\n'
        case Tcp():
            return _python("socket", f'socket.create_connection(("127.0.0.1", {program.port}), timeout=5)', "False")
        case Http() as probe:
            asking = f'http.client.HTTPConnection("127.0.0.1", {program.port}, timeout=5)'
            asked = f'asking = {asking}\n    asking.request("GET", {probe.path!r})'
            return _python("http.client", asked, "not 200 <= asking.getresponse().status <= 399")
        case Log() as probe:
            log = f"log = open({here + '/log/main/current'!r}, errors='replace')"
            return _python("re", log, f"not any(re.search({probe.pattern!r}, line) for line in log)")
        case _ as never:
            assert_never(never)


def _python(module: str, look: str, bad: str) -> str:
    """A script that exits 1 if it cannot look, or if what it sees is ``bad``."""
    return f"""#!/usr/bin/env python3
import sys
import {module}

try:
    {look}
    sys.exit({bad})
except OSError:
    sys.exit(1)
"""


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
