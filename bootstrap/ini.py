"""Generation → what supervisord reads.

No value that a user wrote ever enters an INI file: supervisord would cut it at `` ;``, expand its ``%`` and turn a
newline into a new section. A section holds names that match the grammar, numbers and fixed words; every path is
relative to supervisord's working directory, the run directory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bootstrap.rendering import Unit

SOCKET = "supervisord.sock"
PROGRAMS = "programs.conf"

# minfds bounds a loop of close() calls in every child; our daemon raises the real limit itself.
_DAEMON = f"""\
[supervisord]
nodaemon=true
silent=true
logfile=../log/supervisord.log
logfile_maxbytes=10MB
logfile_backups=2
loglevel=info
pidfile=supervisord.pid
identifier=bootstrap
minfds=16
nocleanup=true

[unix_http_server]
file=/proc/self/cwd/{SOCKET}
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

_PLUGIN = """
[rpcinterface:bootstrap]
supervisor.rpcinterface_factory=bootstrap.world.plugin:make_rpcinterface
"""

_REST = f"""
[supervisorctl]
serverurl=unix://%(here)s/{SOCKET}

[include]
files={PROGRAMS}
"""


def render_daemon(*, plugin: bool = True) -> str:
    """The file that supervisord is started with; it never changes while the daemon lives.

    The socket's path goes through /proc/self/cwd because a unix socket path ends after 107 bytes and a state
    directory may be longer.
    """
    return _DAEMON + (_PLUGIN if plugin else "") + _REST


def render_section(unit: Unit) -> str:
    """One program, in a group of its own, named after its fingerprint: what runs can be read back from supervisord."""
    return f"""\
[program:{unit.name}]
process_name={unit.fingerprint}
command=/bin/sh store/{unit.store_name}/run
priority={unit.wave + 1}
autostart=false
autorestart=true
startsecs=1
startretries={max(unit.restart_starts - 1, 0)}
stopsignal={unit.stop_signal}
stopwaitsecs={max(1, round(unit.stop_grace_s))}
stopasgroup={str(unit.stop_group).lower()}
killasgroup=true
redirect_stderr=true
stdout_logfile=../log/{unit.name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


def render_programs(units: tuple[Unit, ...]) -> str:
    """Every program of a generation."""
    return "\n".join(render_section(unit) for unit in units)
