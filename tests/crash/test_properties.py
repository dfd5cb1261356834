"""What an `up` reaches depends on what is wanted, not on what was before it or what was killed on the way."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.chance import LONG
from support.private_world import in_private_world
from support.sandbox import wait_until

EXAMPLES = 300 if LONG else 12
NAMES = ("api", "db", "web")
few = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # what has happened here once is hard to make happen again; the example is printed
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
programs = st.fixed_dictionaries(
    {
        "value": st.sampled_from(["", "one", 'it\'s "two"\\ %d']),
        "seconds": st.integers(1000, 1002),
        "user": st.booleans(),
    }
)
stacks = st.dictionaries(st.sampled_from(NAMES), programs, max_size=3)


class Applied:
    """A box on which stacks are put in force."""

    def __init__(self, sandbox):
        from support.kept_stack import KeptStack

        self.sandbox = sandbox
        self.kept = KeptStack(sandbox, {})

    def define(self, stack):
        for name in NAMES:
            folder = self.sandbox.root / "services" / name
            with suppress(FileNotFoundError):
                (folder / "service.yaml").unlink()
                folder.rmdir()
        for name, program in stack.items():
            user = "\n    user: nobody" if program["user"] else ""
            self.sandbox.service(
                name,
                f"processes:\n  web:\n    command: exec sleep {program['seconds']}\n    ready: {{alive: 0s}}{user}\n"
                "    stop: {grace: 200ms}\n",
            )
            self.sandbox.config(f"services/{name}/common/VALUE", program["value"])

    def apply(self, stack):
        self.define(stack)
        return self.converge(stack)

    def converge(self, stack):
        self.kept.up()
        return self.read(stack)

    def read(self, stack):
        """Fingerprint, command, user and environment of each program, as supervisor and kernel have them."""
        wait_until(lambda: all(self._has_begun(pid) for pid in self._pids().values()), "every launcher to hand over")
        assert self._pids().keys() == {f"{name}-web" for name in stack}
        return {name: self._describe(name, pid) for name, pid in self._pids().items()}

    def pids(self):
        return self._pids()

    def forget(self):
        """Down to nothing, but the key that fingerprints are made with."""
        key = self.sandbox.state / "key"
        kept = key.read_bytes()
        self.kept.down()
        key.write_bytes(kept)
        key.chmod(0o600)

    def _pids(self):
        return {p.name: p.pid for p in self._observed() if p.pid is not None}

    def _observed(self):
        from bootstrap.world import supervisord

        supervisor = supervisord.connect(self.sandbox.box)
        return supervisor.observe().programs if supervisor else ()

    def _has_begun(self, pid):
        return Path(f"/proc/{pid}/comm").read_text() == "sleep\n"

    def _describe(self, name, pid):
        fingerprint = next(p.fingerprint for p in self._observed() if p.name == name)
        environment = self.sandbox.environ_of(pid)
        environment.pop(b"BOOTSTRAP_MARK")  # new for every supervisor
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        facts = {"fingerprint": fingerprint, "command": words, "user": os.stat(f"/proc/{pid}").st_uid}
        return facts | environment


def differences(one, other):
    """What is not the same, by program and fact."""
    return [
        (name, fact, one[name].get(fact), other[name].get(fact))
        for name in one.keys() | other.keys()
        for fact in one[name].keys() | other[name].keys()
        if one[name].get(fact) != other[name].get(fact)
    ]


@in_private_world
def test_one_stack_after_another_is_the_other_from_nothing(sandbox):
    applied = Applied(sandbox)

    @few
    @given(stacks, stacks)
    def holds(first, second):
        applied.apply(first)
        after_another = applied.apply(second)
        applied.forget()
        assert differences(applied.apply(second), after_another) == []

    holds()


@in_private_world
def test_applying_twice_keeps_every_process(sandbox):
    applied = Applied(sandbox)

    @few
    @given(stacks)
    def holds(stack):
        applied.apply(stack)
        before = applied.pids()
        applied.apply(stack)
        assert applied.pids() == before

    holds()


@in_private_world
def test_any_prefix_of_the_actions_and_one_up_is_all_of_them(sandbox):
    applied = Applied(sandbox)

    @few
    @given(stacks, stacks, st.floats(0.0, 0.25))
    def holds(first, second, seconds):
        applied.apply(first)
        applied.define(second)
        command = sandbox.start("up", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        command.kill()
        command.wait()
        after_prefix = applied.converge(second)
        applied.forget()
        assert differences(applied.apply(second), after_prefix) == []

    holds()
