"""How much is left to chance, and how to meet it again."""

from __future__ import annotations

import os
import random

LONG = bool(os.environ.get("BOOTSTRAP_TEST_LONG"))
_VARIABLE = "BOOTSTRAP_CRASH_SEED"
# read when this module is loaded: fixtures remove our variables before a test
SEED = int(os.environ.get(_VARIABLE, "0")) or random.SystemRandom().randrange(1, 1 << 30)


def drawn_for(what):
    """A source of chance of its own for each part of the tests, the same for the same seed."""
    return random.Random(f"{SEED} {what}")


def note_seed(error, what):
    """Say with a failure how it comes back."""
    error.add_note(f"{what}\nagain: {_VARIABLE}={SEED}")
