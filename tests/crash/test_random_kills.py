"""Whatever is killed, whenever: the next `up` reaches the state that an undisturbed run would have reached."""

from __future__ import annotations

import os
import signal
import time

import pytest

from support import strace, zygote
from support.chance import LONG, drawn_for, note_seed
from support.kept_stack import KeptStack, has_verb
from support.private_world import in_private_world

SHARDS = 10
POINTS = 1000 if LONG else 20  # each

VERBS = ["up", "up", "up from nothing", "up from nothing", "change", "change", "change", "down"]
VERBS += ["rollback"] * has_verb("rollback")
VICTIMS = [("us",)] * 4 + [("supervisor",)] * 3 + [("program",)] * 2
VICTIMS += [("us", "supervisor"), ("us", "program"), ("supervisor", "program"), ("program", "program")]
OFTEN = {"write": 25, "fchmod": 20, "rename": 15, "mkdir": 12, "sendto": 8, "unlink": 6, "openat": 400, "fsync": 4}


@in_private_world
def one_shard(sandbox, shard):
    strace.require_strace()
    draw = drawn_for(shard)
    stack = KeptStack(sandbox)
    sandbox.run("up")
    stack.check()
    killed = 0
    for number in range(POINTS):
        point = Point(stack, draw, number)
        try:
            killed += point.happen()
            assert not stack.up().failures
            stack.check()
        except BaseException as error:
            note_seed(error, f"point {number} of shard {shard}: {point}")
            raise
    assert killed > POINTS / 2, "most points must really kill somebody"


@pytest.mark.parametrize("shard", range(SHARDS), ids=lambda shard: f"shard{shard}")
def test_after_any_kill_one_up_reaches_the_wanted_state(sandbox, shard):
    one_shard(sandbox, shard)


class Point:
    """A verb, and who is killed when while it works."""

    def __init__(self, stack, draw, number):
        self.stack = stack
        self.verb = draw.choice(VERBS)
        self.victims = draw.choice(VICTIMS)
        self.programs = draw.sample(stack.names, 3)
        self.killed = draw.sample(stack.names, 2)
        self.shade = f"shade{number}"
        self.call = draw.choice(list(OFTEN))
        self.count = draw.randrange(1, OFTEN[self.call])
        self.lines = draw.choice([0, 0, 1, 2, 4, 8, 12, 16])
        self.delay_s = draw.choice([0.0, 0.003, 0.05, 0.15]) * draw.random()
        self.at_call = self.victims == ("us",) and draw.random() < 0.5

    def __str__(self):
        when = f"{self.call} {self.count}" if self.at_call else f"{self.lines} lines and {self.delay_s * 1000:.1f} ms"
        return f"{self.verb}, {' and '.join(self.victims)} killed after {when}; changed {self.programs}, killed {self.killed}"

    def happen(self):
        """Do it; the answer is whether somebody was killed."""
        self._prepare()
        sandbox = self.stack.sandbox
        words = sandbox.words(self.verb if self.verb in {"down", "rollback"} else "up")
        with zygote.held(words, sandbox.environ, sandbox.root) as child:
            if self.at_call:
                return strace.finish_killed(sandbox, child, self.call, self.count) == -signal.SIGKILL
            child.release()
            for _ in range(self.lines):
                if not child.read_line():
                    break
            time.sleep(self.delay_s)
            killed = sum(self._kill(victim, child, number) for number, victim in enumerate(self.victims)) > 0
            return child.finish(strace.PATIENCE_S).returncode == -signal.SIGKILL or killed

    def _prepare(self):
        if self.verb == "up from nothing":
            self.stack.down()
        elif self.verb == "change":
            self.stack.change(self.programs, self.shade)

    def _kill(self, victim, child, number):
        if victim == "us":
            return child.kill()
        if victim == "supervisor":
            pids = self.stack.daemons()
        else:
            main, _ = self.stack.main_of(self.killed[number])
            pids = [main] if main in self.stack.census().get(self.killed[number], ()) else []
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return bool(pids)
