"""The same services under bootstrap, under supervisord by hand (twice) and under runsvdir.

Every contestant answers the same questions. Where one is judged by less than bootstrap is, that is to its advantage:
bootstrap is ready when its command has returned, the others as soon as the last service runs.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Protocol, TypeAlias

from measure import run, spawn
from workload import VARIABLE, Services

Argv: TypeAlias = list[str]

_BIN = Path(sys.executable).parent
_RUNIT = ("chpst", "runsvdir", "sv")


class Contestant(Protocol):
    """One way to run the services; ``name`` is what the tables say."""

    name: str
    waits_until_ready: bool  # whether its commands return when the services are ready, and are measured so

    def __init__(self, services: Services) -> None:
        """Write nothing yet."""

    def write(self) -> None:
        """Write what a person would have written by hand."""

    def start(self) -> int | None:
        """Start it from nothing; the answer is when the command returned, if that says anything."""

    def noop(self) -> Argv:
        """Apply the configuration again; nothing has changed."""

    def status(self) -> Argv:
        """Show what runs."""

    def revise(self, service: str, revision: str) -> Argv:
        """Change one variable in the files; the answer is the command that applies it."""

    def stop(self) -> None:
        """Stop everything; return when the commands for it have."""

    def configuration(self) -> Path | None:
        """The file that supervisord reads."""


class Bootstrap:
    """The installed console script, as users start it."""

    name = "bootstrap"
    waits_until_ready = True

    def __init__(self, services: Services) -> None:
        self._services = services
        self._root = services.directory / "root"
        self._state = services.directory / "state"
        self._output = services.directory / "bootstrap.out"

    def write(self) -> None:
        for name in self._services.names:
            folder = self._root / "services" / name
            folder.mkdir(parents=True)
            command = json.dumps(self._services.line(name))
            definition = f"processes:\n  run:\n    command: {command}\n    ready: {{alive: 0s}}\n"
            (folder / "service.yaml").write_text(definition, encoding="utf-8")
        time.sleep(0.1)  # files of this very moment may change unseen: bootstrap would, rightly, read them once more

    def start(self) -> int | None:
        return run(self._up(), self._output)

    def noop(self) -> Argv:
        return self._up()

    def status(self) -> Argv:
        return self._verb("status")

    def revise(self, service: str, revision: str) -> Argv:
        self._services.revise(service, revision)
        return self._up()

    def stop(self) -> None:
        run(self._verb("down"), self._output)

    def configuration(self) -> Path | None:
        return self._state / "run" / "supervisord.conf"

    def _up(self) -> Argv:
        return self._verb("--tag", "mode=review", "up")

    def _verb(self, *words: str) -> Argv:
        return [str(_BIN / "bootstrap"), "--root", str(self._root), "--state", str(self._state), *words]


class BootstrapTerm(Bootstrap):
    """Stopped by a bare SIGTERM to supervisord, as an init system does it."""

    name = "bootstrap, SIGTERM"
    waits_until_ready = False  # nor does the stop: what is left is counted when everything has gone

    def stop(self) -> None:
        pid = int((self._state / "run" / "supervisord.pid").read_text(encoding="ascii"))
        os.kill(pid, signal.SIGTERM)


class BootstrapBoot(Bootstrap):
    """Under `bootstrap boot`, which an init system starts."""

    name = "bootstrap boot"

    def start(self) -> int | None:
        self._pid = spawn(self._verb("--tag", "mode=review", "boot"), self._output)
        return None

    def stop(self) -> None:
        os.kill(self._pid, signal.SIGTERM)
        os.waitpid(self._pid, 0)


class Supervisord:
    """supervisord on a hand-written configuration: each program through three nested ``chpst -e``."""

    name = "supervisord, chpst -e x3"
    waits_until_ready = False

    def __init__(self, services: Services) -> None:
        self._services = services
        self._pid = 0
        self._output = services.directory / "supervisord.out"

    def write(self) -> None:
        (self._services.directory / "log").mkdir()
        programs = (self._section(name) for name in self._services.names)
        self.configuration().write_text("\n".join([self._head(), *programs]), encoding="utf-8")

    def start(self) -> int | None:
        self._pid = spawn([str(_BIN / "supervisord"), "-c", str(self.configuration())], self._output)
        return None

    def noop(self) -> Argv:
        return self._control("update")

    def status(self) -> Argv:
        return self._control("status")

    def revise(self, service: str, revision: str) -> Argv:
        self._services.revise(service, revision)
        return self._control("restart", service)  # `update` does not see what chpst reads: one has to know the name

    def stop(self) -> None:
        run(self._control("stop", "all"), self._output)  # all together, which SIGTERM and `shutdown` do not do
        run(self._control("shutdown"), self._output)

    def configuration(self) -> Path:
        return self._services.directory / "supervisord.conf"

    def _control(self, *words: str) -> Argv:
        return [str(_BIN / "supervisorctl"), "-c", str(self.configuration()), *words]

    def _head(self) -> str:
        here = self._services.directory
        descriptors = max(1024, 4 * len(self._services.names) + 48)  # three a program, and its own
        return f"""\
[supervisord]
nodaemon=true
silent=true
logfile={here}/log/supervisord.log
pidfile={here}/supervisord.pid
minfds={descriptors}

[unix_http_server]
file={here}/supervisord.sock
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{here}/supervisord.sock
"""

    def _section(self, name: str) -> str:
        return f"""\
[program:{name}]
command={shlex.join(_in_layers(self._services, name))}
startsecs=0
autorestart=true
redirect_stderr=true
stdout_logfile={self._services.directory}/log/{name}.log
"""


class SupervisordEnvironment(Supervisord):
    """The same with the variables of all three layers written into ``environment=``."""

    name = "supervisord, environment="

    def revise(self, service: str, revision: str) -> Argv:
        text = self.configuration().read_text(encoding="utf-8")
        before, section, after = text.partition(f"[program:{service}]\n")
        old = self._services.environment(service)[VARIABLE]
        after = after.replace(f'{VARIABLE}="{old}"', f'{VARIABLE}="{revision}"', 1)
        self.configuration().write_text(before + section + after, encoding="utf-8")
        self._services.revise(service, revision)  # nobody reads it here; it remembers the old value for the next time
        return self._control("update")

    def _section(self, name: str) -> str:
        values = self._services.environment(name)
        environment = ",".join(f'{key}="{value}"' for key, value in sorted(values.items()))
        return f"""\
[program:{name}]
command={shlex.join(["/bin/sh", "-c", self._services.line(name)])}
environment={environment}
startsecs=0
autorestart=true
redirect_stderr=true
stdout_logfile={self._services.directory}/log/{name}.log
"""


class SupervisordTerm(Supervisord):
    """Stopped by a bare SIGTERM to supervisord, as an init system does it."""

    name = "supervisord, SIGTERM"

    def stop(self) -> None:
        os.kill(self._pid, signal.SIGTERM)


class Runsvdir:
    """runit: a service directory each, with the same ``chpst -e``."""

    name = "runsvdir, chpst -e x3"
    waits_until_ready = False

    def __init__(self, services: Services) -> None:
        self._services = services
        self._pid = 0
        self._output = services.directory / "runsvdir.out"

    def write(self) -> None:
        for name in self._services.names:
            folder = self._folder(name)
            folder.mkdir(parents=True)
            script = folder / "run"
            script.write_text(f"#!/bin/sh\nexec {shlex.join(_in_layers(self._services, name))}\n", encoding="utf-8")
            script.chmod(0o755)
        time.sleep(1.1)  # to its advantage: runsvdir sleeps a second over a directory changed within this second

    def start(self) -> int | None:
        self._pid = spawn([_found("runsvdir"), str(self._services.directory / "sv")], self._output)
        return None

    def noop(self) -> Argv:
        return self._sv("up", *self._services.names)

    def status(self) -> Argv:
        return self._sv("status", *self._services.names)

    def revise(self, service: str, revision: str) -> Argv:
        self._services.revise(service, revision)
        return self._sv("restart", service)

    def stop(self) -> None:
        os.kill(self._pid, signal.SIGHUP)

    def configuration(self) -> Path | None:
        return None

    def _sv(self, verb: str, *names: str) -> Argv:
        return [_found("sv"), verb, *(str(self._folder(name)) for name in names)]

    def _folder(self, name: str) -> Path:
        return self._services.directory / "sv" / name


def missing_commands() -> list[Path]:
    """Which console scripts are not beside the interpreter that runs this."""
    return [_BIN / name for name in ("bootstrap", "supervisord", "supervisorctl") if not (_BIN / name).exists()]


def missing_tools() -> list[str]:
    """Which tools of runit are not installed here."""
    return [tool for tool in _RUNIT if shutil.which(tool) is None]


def choose_contestants() -> list[type[Contestant]]:
    """Those that this machine can run. chpst is what two of them are about."""
    if missing_tools():
        return [Bootstrap, SupervisordEnvironment]
    return [Bootstrap, Supervisord, SupervisordEnvironment, Runsvdir]


def _in_layers(services: Services, name: str) -> Argv:
    chpst = _found("chpst")
    nested = [word for layer in services.layers(name) for word in (chpst, "-e", str(layer))]
    return [*nested, "/bin/sh", "-c", services.line(name)]


def _found(tool: str) -> str:
    return shutil.which(tool) or tool
