"""Our chpst against Debian's: generated command lines, directories and processes, started alike.

Compared are exit code, message and lock file, and all that the program behind finds: environment, words, directory,
root, descriptors, limits, users and groups, capabilities, signals, umask, session, group and nice value. What differs on
purpose is in ``test_chpst.py`` and in docs/runit.md, and is never generated here.
"""

import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from support.chance import LONG, drawn_for, note_seed
from support.chpst_cases import draw_case
from support.chpst_difference import compare, make_arena
from support.private_world import give_up

BATCHES, SIZE = (50, 2000) if LONG else (6, 500)
FAILED = 99  # see chpst_starter
LEAST_TOLD = 0.5  # of the cases get as far as the program
OPTIONS = "bceflmnoprtuvLPU/012"  # d, and V and the names, are counted by what they come to


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    if os.geteuid() != 0:
        give_up("only root can change its user and root directory")
    for program in ("chpst", "perl"):
        if shutil.which(program, path="/usr/bin") is None:
            give_up(f"/usr/bin/{program} is missing: install the Debian packages runit and perl-base")
    with tempfile.TemporaryDirectory(prefix="chpst-") as arena:  # pytest's own directories are root's alone
        make_arena(Path(arena))
        yield Path(arena)


def check(arena, how, what, count, **chosen):
    dice = drawn_for(what)
    cases = [draw_case(dice, **chosen) for _ in range(count)]
    seen = Counter()
    for case, (theirs, ours) in zip(cases, compare(cases, arena, how), strict=True):
        if ours != theirs:
            differing = {
                part: (theirs.get(part), ours.get(part)) for part in theirs | ours if theirs.get(part) != ours.get(part)
            }
            error = AssertionError(f"(theirs, ours): {differing}\n{case}")
            note_seed(error, what)
            raise error
        assert theirs["exit"] != FAILED, theirs["said"]
        seen.update(
            ["told"] * ("nice" in theirs) + [theirs["exit"]] + [word[:2] for word in case.words if word[:1] == b"-"]
        )
    return seen


@pytest.mark.parametrize("batch", range(BATCHES))
def test_the_program_finds_what_it_finds_behind_the_binary(batch, arena):
    seen = check(arena, "forked", f"batch {batch}", SIZE)
    assert seen["told"] > LEAST_TOLD * SIZE
    assert min(seen[b"-" + option.encode()] for option in OPTIONS) > 5
    assert min(seen[100], seen[111]) > 20


def test_as_a_command_it_is_no_different(arena):
    """The interpreter's own start is part of it: closed streams, signals, the locale's variable."""
    count = 1000 if LONG else 100
    assert check(arena, "file", "file", count, is_root=True)["told"] > LEAST_TOLD * count
