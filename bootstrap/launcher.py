"""Program + environment → the two files that start it, ``run`` and ``env``.

``run`` is an executable of POSIX sh that anything may start: supervisord, runsvdir, a person. It makes the environment
empty, sets limits, umask and directory, gives up privileges and hands over to a second shell that reads ``env`` on its
standard input. Only that second shell, which has no privileges left, ever sees a value: so ``LD_PRELOAD`` in a config
layer cannot reach a root process, no value stands in an argument list, and the program's user needs no access to the
file. With arguments, ``run`` runs those in the same environment instead of the program's own command.

Every byte but NUL arrives unchanged, because values are single-quoted; names are ``[A-Za-z_][A-Za-z0-9_]*``.
The price is three short processes that exec one another, 2–4 ms; nothing of ours stays resident.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bootstrap.definition import Limits

# What the shells of this world treat as theirs: setting them fails, is ignored or changes how the shell works.
SHELL_NAMES = frozenset(
    """
    _ IFS LINENO OPTIND PPID
    BASHOPTS BASHPID BASH_COMMAND BASH_LINENO BASH_SUBSHELL BASH_VERSINFO DIRSTACK EPOCHREALTIME EPOCHSECONDS EUID
    FUNCNAME GROUPS HISTCMD RANDOM SECONDS SHELLOPTS SRANDOM UID
    """.split()  # noqa: SIM905 - a list of words, read as one
)
# supervisord, and the Python that it runs on, add these; a program must not be able to tell who started it.
SUPERVISOR_NAMES = (
    "LC_CTYPE",
    "SUPERVISOR_ENABLED",
    "SUPERVISOR_SERVER_URL",
    "SUPERVISOR_PROCESS_NAME",
    "SUPERVISOR_GROUP_NAME",
)
MARK = "BOOTSTRAP_MARK"  # in the environment of every process of ours: the state directory it belongs to
PROGRAM = "BOOTSTRAP_PROGRAM"  # likewise: the program it belongs to
CGROUP = "BOOTSTRAP_CGROUP"  # supervisord's alone: the control group whose children are the programs' own
BY_HAND = "by-hand"  # the mark of what a person starts; nothing ever sweeps it away
DEFAULT_NOFILE = 1024  # soft; the hard limit stays, so a program may raise its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Whom a program runs as; ``None`` for the user that runs bootstrap."""

    uid: int
    gid: int
    user: str | None  # with a name, supplementary groups come from the user database


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Everything that decides how a program is started, but its environment."""

    program: str
    command: str
    directory: str
    credentials: Credentials | None
    limits: Limits
    output: str | None = None  # the pipe that the program's standard output goes into
    input: str | None = None  # the pipe that its standard input comes from
    below: str | None = None  # the end of ``directory`` that whoever the program runs as may have made: he enters it


def quote(text: str) -> str:
    """One word of sh that means exactly this text."""
    return "'" + text.replace("'", "'\\''") + "'"


def render_run(launch: Launch, env_file: str, spare: tuple[int, ...] = ()) -> str:
    """The executable; it holds no value of the environment. ``spare`` are descriptors that the program must not get."""
    closing = "".join(f" {descriptor}<&-" for descriptor in spare)
    lines = [
        "#!/bin/sh",
        f"# {launch.program}, rendered by bootstrap. With arguments: runs them in this program's environment instead.",
        f'[ "${{{MARK}-}}" ] || exec /usr/bin/env -i {MARK}={BY_HAND} /bin/sh "$0" "$@"',
        "umask 022",
        *_group_lines(launch.program),
        *_limit_lines(launch.program, launch.limits),
        f"cd {quote(_outer_directory(launch))} || exit 111",
        f"unset {' '.join(SUPERVISOR_NAMES)} {CGROUP} OLDPWD SHLVL",
        f"export {PROGRAM}={launch.program}",  # before exec: a command that is a shell itself is known by it too
        *_pipe_lines(launch),
        f'exec 3<&0 {_privileges(launch)} /bin/sh -s -- "$@" <{quote(env_file)}{closing}',
    ]
    return "\n".join(lines) + "\n"


def render_env(launch: Launch, values: Mapping[str, str]) -> str:
    """What the second shell reads: the exports, then the command.

    The braces make the shell read to the end before it gives its standard input back to the program.
    """
    lines = [f"export {key}={quote(value)}" for key, value in sorted(values.items())]
    lines += [
        "{",
        *([f"cd {quote(f'./{launch.below}')} || exit 111"] if launch.below else []),
        "unset OLDPWD SHLVL",
        '[ "$#" -eq 0 ] || exec "$@" <&3 3<&-',
        "exec <&3 3<&-",
        launch.command,
        "exit",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _outer_directory(launch: Launch) -> str:
    """As far as it is nobody's but ours; root would follow a link in the rest to where its maker may not go."""
    return launch.directory.removesuffix(f"/{launch.below}") if launch.below else launch.directory


def shell_names(keys: Iterable[str]) -> list[str]:
    """Keys that no shell would carry unchanged."""
    return sorted(SHELL_NAMES.intersection(keys))


def _group_lines(program: str) -> list[str]:
    return [f'[ -z "${{{CGROUP}-}}" ] || echo 0 >"${CGROUP}/{program}/cgroup.procs" || exit 111']


def _pipe_lines(launch: Launch) -> list[str]:
    """A pipe outlives both its ends, as the one that runsv holds: each is opened for reading and writing."""
    ends = [(pipe, redirection) for pipe, redirection in ((launch.output, "1<>"), (launch.input, "<>")) if pipe]
    return [
        f'[ "$#" -gt 0 ] || {{ mkfifo -m 600 {quote(pipe)} 2>/dev/null; [ -p {quote(pipe)} ] && '
        f"exec {redirection}{quote(pipe)}; }} || exit 111"
        for pipe, redirection in ends
    ]


def _limit_lines(program: str, limits: Limits) -> list[str]:
    """A memory limit is the group's, which counts what is used; without one the address space has to stand for it."""
    lines = ["ulimit -c 0"] if limits.core is None else []
    if limits.nofile is None:
        lines.append(f"ulimit -S -n {DEFAULT_NOFILE}")
    else:
        lines.append(f"ulimit -n {limits.nofile} || exit 111")
    if limits.memory is not None:
        lines += [
            f'{{ [ "${{{CGROUP}-}}" ] && echo {limits.memory} >"${CGROUP}/{program}/memory.max"; }} 2>/dev/null ||',
            f"ulimit -v {limits.memory // 1024} || exit 111",
        ]
    return lines


def _privileges(launch: Launch) -> str:
    asked = {"nproc": launch.limits.processes, "core": launch.limits.core}
    options = [f"--{name}={limit}" for name, limit in asked.items() if limit is not None]
    words = ["/usr/bin/prlimit", *options] if options else []
    words += ["/usr/bin/setpriv", "--no-new-privs"]
    if launch.credentials is not None:
        words += [
            f"--reuid={launch.credentials.uid}",
            f"--regid={launch.credentials.gid}",
            "--init-groups" if launch.credentials.user else "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
        ]
    return " ".join(words)
