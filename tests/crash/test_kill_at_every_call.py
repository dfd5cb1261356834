"""Killed at each of the calls with which it writes or tells the supervisor something, a verb is finished by one `up`."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import replace

import pytest

from support import strace
from support.private_world import in_private_world
from support.repeated import VERBS, Repeated

PARTS = 3  # of the calls of a verb, so that they are shared among the workers
TRIES = 6  # a scan of /proc may see one process more or less; mostly the first try hits


def beside(call, attempt):
    """The call itself, then one later, one earlier, two later, …"""
    offset = (attempt + 1) // 2 * (1 if attempt % 2 else -1)
    return replace(call, number=max(1, call.number + offset))


@in_private_world
def kill_at_each(sandbox, verb, part):
    strace.require_strace()
    repeated = Repeated(sandbox, verb)
    repeated.mend()
    repeated.prepare()
    wanted = list(strace.named(strace.list_calls(sandbox, repeated.argument)).items())[part::PARTS]
    repeated.mend()
    missed = Counter()
    for place, call in wanted:
        for attempt in range(TRIES):
            repeated.prepare()
            done = strace.disturb(sandbox, beside(call, attempt), "signal=KILL", repeated.argument)
            assert done.code in {-signal.SIGKILL, 0}, (place, done)
            try:
                repeated.mend()
            except BaseException as error:
                error.add_note(f"{verb}, killed at {call}, really at {done.hit}")
                raise
            if done.hit is not None and (done.hit.name, done.hit.about) == place[:2]:
                break
            if call.floats and call.name == "openat":
                break  # it can't be aimed at; the write to the file that it opens can
        else:
            missed[place] += not call.floats
    assert not +missed, "these were never reached"


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_is_killed_at_any_write_is_finished_by_the_next_up(sandbox, verb, part):
    kill_at_each(sandbox, verb, part)
