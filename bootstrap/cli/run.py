"""``run``: one command in a service's environment, user and directory."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from bootstrap import boot
from bootstrap.cli.options import tag_options
from bootstrap.generation import launch_of
from bootstrap.launcher import BY_HAND, MARK, render_env, render_run
from bootstrap.oneoff import oneoff_of, resolve_oneoff
from bootstrap.request import Request

if TYPE_CHECKING:
    from bootstrap.cli.settings import Settings

_RUN, _ENV = 8, 9  # descriptors: the texts are in memory only and gone with the command


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog="Example: bootstrap run api -- python -m api.console",
    short_help="Run a command in a service's environment, user and directory.",
)
@click.argument("service")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND…]")
@tag_options
def run(settings: Settings, service: str, command: tuple[str, ...]) -> NoReturn:
    """Run COMMAND (a shell, if none is given) as SERVICE would run it; the exit code is the command's own."""
    request = Request(
        tags=settings.tags, tags_file=settings.tags_file, last_identity=settings.last_identity, dry=True, code="kept"
    )
    box = settings.box
    tags = boot.gather_tags(box, request, _notice)
    layered = boot.layer(box, tags, request, _notice, lambda plan: resolve_oneoff(plan, service))
    program = oneoff_of(layered.plan)
    launch = launch_of(program, layered.accounts[program.name], os.geteuid())
    environment = layered.environments[program.name]
    texts = {
        _RUN: render_run(launch, f"/proc/self/fd/{_ENV}", spare=(_RUN, _ENV)),
        _ENV: render_env(launch, {key: variable.value for key, variable in environment.variables.items()}),
    }
    kept = [(_keep_in_memory(text.encode(errors="surrogateescape")), descriptor) for descriptor, text in texts.items()]
    for memory, descriptor in kept:
        os.dup2(memory, descriptor)
    sys.stdout.flush()
    words = ["/bin/sh", f"/proc/self/fd/{_RUN}", *(command or ("/bin/sh",))]
    if launch.credentials is not None and os.isatty(0):
        _run_on_own_terminal(words)
    if launch.credentials is not None and _have_terminal():
        _run_without_terminal(words)
    os.execve(words[0], words, {MARK: BY_HAND})  # noqa: S606 - that is what the verb is for; no user value is a script


def _run_on_own_terminal(words: list[str]) -> NoReturn:
    """Another user must not hold our terminal: he could type into it (TIOCSTI). He gets one of his own."""
    import pty  # noqa: PLC0415 - only for people

    os.environ.clear()
    os.environ[MARK] = BY_HAND
    sys.exit(os.waitstatus_to_exitcode(pty.spawn(words)))


def _have_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return os.isatty(1) or os.isatty(2)
    return True


def _run_without_terminal(words: list[str]) -> NoReturn:
    """Nobody types into it; what it says to a terminal of ours goes through a pipe, in a session without one."""
    import subprocess  # noqa: PLC0415 - only for people

    sides = {1: subprocess.PIPE if os.isatty(1) else None, 2: None}
    if os.isatty(2):
        sides[2] = subprocess.STDOUT if sides[1] else subprocess.PIPE
    child = subprocess.Popen(
        words, env={MARK: BY_HAND}, stdout=sides[1], stderr=sides[2], start_new_session=True, pass_fds=(_RUN, _ENV)
    )
    source, target = (child.stdout, 1) if child.stdout else (child.stderr, 2)
    while True:
        try:
            while source and (block := os.read(source.fileno(), 65536)):
                os.write(target, block)
            code = child.wait()
        except KeyboardInterrupt:
            os.killpg(child.pid, signal.SIGINT)
        else:
            sys.exit(code if code >= 0 else 128 - code)


def _notice(_whom: str, text: str) -> None:
    click.echo(text, err=True)


def _keep_in_memory(content: bytes) -> int:
    """A descriptor above those that the command gets: whoever has called us may have left any of them open."""
    memory = os.memfd_create("bootstrap")
    view = memoryview(content)
    while view:
        view = view[os.write(memory, view) :]
    return fcntl.fcntl(memory, fcntl.F_DUPFD_CLOEXEC, max(_RUN, _ENV) + 1)
