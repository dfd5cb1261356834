"""``chpst``: what ``--help`` says. All else is in ``runit_compat``, and ``bootstrap.__main__`` goes there directly."""

from __future__ import annotations

from typing import NoReturn

import click


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": ["--help"],  # -h is an option of chpst: a wrong one
    },
    epilog="Example: bootstrap chpst -u api -e ./env -o 1024 ./server",
    short_help="Run a program with a changed process state, as runit's chpst does.",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[OPTION…] PROGRAM [ARGUMENT…]")
def chpst(words: tuple[str, ...]) -> NoReturn:  # noqa: ARG001 - they are for the error alone
    """Change user, environment, limits and more as runit's chpst does, and run PROGRAM; see docs/runit.md.

    \b
    -u [:]USER[:GROUP…]   user and groups           -e DIR    a variable from each file of DIR
    -U [:]USER[:GROUP…]   $UID and $GID             -b ARGV0  the name that PROGRAM is told
    -/ ROOT               root directory            -C DIR    working directory
    -n INCREMENT          nice value                -P        a new session
    -l FILE, -L FILE      hold a lock; -L does not wait for it
    -m BYTES              memory: all of -d, stack, locked and address space
    -d BYTES -o N -p N    data segment, open files, processes of the user
    -f BYTES -c BYTES     size of files and of cores
    -r BYTES -t SECONDS   resident memory, CPU time
    -0 -1 -2              close standard input, output, error
    -v -V                 say more; tell the version
    """  # noqa: D301 - click wants the character, not the two
    raise click.UsageError('cannot run "chpst" with options before it: it takes only its own')
