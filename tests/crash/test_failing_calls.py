"""A disk, a kernel or a supervisor that says no at any point: an error that names it, nothing half applied, nothing lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support import strace
from support.chance import LONG, drawn_for, note_seed
from support.private_world import in_private_world
from support.repeated import VERBS, Repeated

PARTS = 4
SAMPLED = 5  # calls of each part in an ordinary run
ERRORS = ("EIO", "ENOSPC", "EROFS", "EMFILE", "EACCES", "EINTR")
SHORT = "retval=0"  # a write that takes nothing: honest, unlike any other number that strace could return
DOCUMENTED = {0, 1, 75}


def effects_on(call):
    effects = [f"error={error}" for error in ERRORS]
    return [*effects, SHORT] if "write" in call.name else effects


@in_private_world
def fail_each(sandbox, verb, part):
    strace.require_strace()
    draw = drawn_for(f"{verb} {part}")
    repeated = Repeated(sandbox, verb)
    repeated.mend()
    repeated.prepare()
    calls = list(strace.named(strace.list_calls(sandbox, repeated.argument)).values())[part::PARTS]
    repeated.mend()
    chosen = [(call, effect) for call in calls for effect in effects_on(call)]
    if not LONG:
        chosen = [(call, draw.choice(effects_on(call))) for call in draw.sample(calls, min(SAMPLED, len(calls)))]
    for call, effect in chosen:
        try:
            fail_at(sandbox, repeated, call, effect)
        except BaseException as error:
            note_seed(error, f"{verb}: {effect} at {call}")
            raise


def fail_at(sandbox, repeated, call, effect):
    repeated.prepare()
    kept = repeated.stack.pids()["leaves"]
    done = strace.disturb(sandbox, call, effect, repeated.argument)
    if done.hit is not None:  # else it has hit a call that writes nothing of ours: then only what follows must hold
        assert done.code in DOCUMENTED, done
        assert "Traceback" not in done.stdout + done.stderr
        assert "bug in bootstrap" not in done.stderr
        if done.code:
            judge_message(done)
    repeated.mend()
    if repeated.keeps:
        assert repeated.stack.pids()["leaves"] == kept, "a program that has nothing to do with it was restarted"


def judge_message(done):
    """It says what can't be done with which path or what else, and what to do."""
    text = done.stdout + done.stderr
    assert "error: cannot " in text, text
    assert "way out: " in text or "run the command again" in text, text
    assert any(name in text for name in names_of(done.hit.path)), f"{done.hit.path} is not named in: {text}"


def names_of(path):
    """What a user may call it: the path that it is going to have, or a folder of ours above it."""
    if path.startswith(("the supervisor", "something below")):
        return ["supervisord", "/.bootstrap"]
    final = re.sub(r"/\.((?!bootstrap)[^/]+?)\.[0-9a-f]{12}", r"/\1", re.sub(r"/\.(new|old)-", "/", path))
    return [final, *(str(folder) for folder in Path(final).parents if "/.bootstrap/" in str(folder))]


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("verb", VERBS)
def test_a_call_that_fails_is_told_and_the_next_up_reaches_the_wanted_state(sandbox, verb, part):
    fail_each(sandbox, verb, part)
