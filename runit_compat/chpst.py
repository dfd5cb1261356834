#!/usr/bin/env -S python3 -S -E -X utf8
"""``chpst``: changes the state of this process and runs a program in it, as runit's command does.

It runs as a file, as ``python -m runit_compat.chpst``, as ``bootstrap chpst``, and through links called ``envdir``,
``envuidgid``, ``pgrphack``, ``setlock``, ``setuidgid`` or ``softlimit``. This file only brings what the interpreter has
changed back to what it was; it stays short because a file that is run is compiled at every start.
"""

from __future__ import annotations

import os
import sys

if not __package__:  # run as a file: what stands beside it is found as the package it is
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))

import _signal  # type: ignore[import-not-found]  # signal takes 4 ms to import: its numbers are enumerations

from runit_compat.chpst_options import UsageError, parse_command_line
from runit_compat.process_state import become
from runit_compat.trouble import Trouble, write_words

TYPE_CHECKING = False  # as typing has it, which takes 7 ms to import
if TYPE_CHECKING:
    from typing import NoReturn

_EXIT_USAGE = 100
_EXIT_TROUBLE = 111
_SET_BY_PYTHON = (b"C.UTF-8", b"C.utf8", b"UTF-8")  # what PEP 538 puts into LC_CTYPE where the locale is C


def main(words: list[str] = sys.argv) -> NoReturn:
    """The words as they were typed, the name that chpst was called by first."""
    name, *others = map(os.fsencode, words)
    run([name.removesuffix(b".py"), *others], _read_environment())


def run(words: list[bytes], environment: dict[bytes, bytes]) -> NoReturn:
    """Become what the words say; does not come back."""
    _restore_signals()
    try:
        change = parse_command_line(words)
    except UsageError as error:
        write_words(error.text)
        os._exit(_EXIT_USAGE)
    try:
        become(change, environment)
    except Trouble as trouble:
        if change.is_silent:
            os._exit(0)
        write_words(b"chpst: fatal: " + trouble.text)
    except MemoryError:
        write_words(b"chpst: fatal: out of memory.")
    os._exit(_EXIT_TROUBLE)


def _read_environment() -> dict[bytes, bytes]:
    """As it was given to this process, before the interpreter set a variable in it."""
    environment = dict(os.environb)
    if environment.get(b"LC_CTYPE") not in _SET_BY_PYTHON:
        return environment
    try:
        with open("/proc/self/environ", "rb") as file:
            given = file.read().split(b"\0")
    except OSError:
        return environment
    values = [entry.partition(b"=")[2] for entry in given if entry.startswith(b"LC_CTYPE=")]
    if values:
        environment[b"LC_CTYPE"] = values[0]
    else:
        del environment[b"LC_CTYPE"]
    return environment


def _restore_signals() -> None:
    """The interpreter ignores two and handles a third, and what is ignored stays so in the program that it becomes."""
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


if __name__ == "__main__":
    main()
