"""``sv`` as a command: `bootstrap sv`, a link named `sv`, or one named after a service."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from bootstrap.errors import BootstrapError
from bootstrap.world.place import find_box
from runit_compat import sv
from runit_compat.sv_box import Programs
from runit_compat.sv_finding import make_find

if TYPE_CHECKING:
    from bootstrap.box import Box


def main(argv: list[str]) -> NoReturn:
    """Run as ``argv[0]``; where there is no box, there are still the services of a runsv."""
    os.umask(0o077)
    try:
        box = find_box(None, None, os.environ)
    except BootstrapError:
        box = None
    code = run(box, argv[1:], argv[0])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os._exit(code)


def run(box: Box | None, words: list[str], name: str) -> int:
    """Run one command; the answer is sv's exit code."""
    began = time.time()
    programs = None if box is None else Programs(box, began)
    find = make_find(
        programs.find if programs else lambda _: [],
        programs.find_below if programs else lambda _: [],
        os.environ,
        began,
    )
    if programs is None:
        return sv.main(find, words, name, lambda: None)
    programs.gather()
    return sv.main(find, words, name, programs.deliver)
