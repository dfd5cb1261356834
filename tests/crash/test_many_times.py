"""Fifty at once are one; a thousand with nothing to do are none; three hundred crashes leave nothing behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from support.chance import LONG
from support.kept_stack import KeptStack
from support.private_world import in_private_world
from support.sandbox import wait_until

AT_ONCE = 50
NOTHING_TO_DO = 1000
COMMANDS = 1000 if LONG else 20  # of these; the others are made in this process
CRASHES = 1000 if LONG else 300
TWINS = 20  # programs that crash side by side, so that nobody has to wait for growing delays
GROWTH_KIB = 512


def starts_of(stack, name):
    return (stack.evidence / f"{name}-main").read_text().split("\n")[:-1]


@in_private_world
def test_fifty_ups_at_once_have_the_effect_of_one(sandbox):
    stack = KeptStack(sandbox, ["ordinary", "leaves", "closes"])
    commands = [sandbox.start("up", "--json") for _ in range(AT_ONCE)]
    ends = [(command.communicate(timeout=120), command.returncode) for command in commands]
    assert [code for _, code in ends] == [0] * AT_ONCE, [output for output, code in ends if code]
    assert {name: len(starts_of(stack, name)) for name in stack.names} == dict.fromkeys(stack.names, 1)
    assert sum(b'"changed": true' in output for (output, _), _ in ends) == 1
    stack.check()


@in_private_world
def test_ups_and_downs_at_once_end_in_one_state_or_the_other(sandbox):
    stack = KeptStack(sandbox, ["ordinary", "leaves"])
    commands = [sandbox.start(verb) for _ in range(8) for verb in ("up", "down", "up")]
    ends = [(command.communicate(timeout=120), command.returncode) for command in commands]
    assert {code for _, code in ends} == {0}, [output for output, code in ends if code]
    stack.check_no_doubles()
    sandbox.run("up")
    stack.check()


@in_private_world
def test_a_thousand_ups_with_nothing_to_do_do_nothing(sandbox):
    stack = KeptStack(sandbox)
    sandbox.run("up")
    stack.check()
    pids, files = stack.pids(), stack.files()
    for number in range(NOTHING_TO_DO):
        if number < COMMANDS:
            sandbox.run("up")
        else:
            stack.up()
    assert stack.pids() == pids
    assert stack.files() == files
    stack.check()


@in_private_world
def test_three_hundred_crashes_of_a_program_that_flees_leave_nothing_behind(sandbox):
    stack = KeptStack(sandbox, {f"twin-{number}": "flees" for number in range(TWINS)})
    sandbox.run("up")
    stack.check()
    rounds = CRASHES // TWINS
    for number in range(rounds):
        crash_all(stack, number + 2)
        if number == rounds // 3:
            before = resources(sandbox.daemon)
    after = resources(sandbox.daemon)
    stack.check()
    assert after["descriptors"] == before["descriptors"]
    assert after["KiB"] - before["KiB"] < GROWTH_KIB, (before, after)
    assert zombies_of(sandbox.daemon) == []


def crash_all(stack, starts):
    for name in stack.names:
        os.kill(stack.main_of(name)[0], signal.SIGKILL)
    wait_until(lambda: all(len(starts_of(stack, name)) == starts for name in stack.names), "every restart")
    stack.wait_until_kept()
    stack.check_no_doubles()


def resources(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return {"descriptors": len(os.listdir(f"/proc/{pid}/fd")), "KiB": int(resident)}


def zombies_of(parent):
    """Children of a process that have ended and that nobody has asked about."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(") ")[2].split()
            if fields[0] == "Z" and int(fields[1]) == parent:
                found.append(int(name))
    return found
