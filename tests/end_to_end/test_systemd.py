"""The unit of `image/` under a real systemd: deaths of everything that can die, a stop, a reboot."""

from __future__ import annotations

import time

import pytest

from support.booted import Booted, require_systemd
from support.sandbox import wait_until

SERVICES = 10
TOO_LONG_S = 10.0  # the benchmark holds us to two seconds; here other tests want the processor too


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """Ten services; the first is needed by the others, and each notes its end."""
    require_systemd()
    booted = Booted(tmp_path_factory.mktemp("booted"))
    for number in range(SERVICES):
        needs = "" if number == 0 else "needs: [s0]\n"
        trap = f'trap "echo s{number} >> /shared/order; exit 0" TERM'
        booted.service(
            f"s{number}",
            f"{needs}processes:\n  web:\n    ready: {{log: armed}}\n"
            f"    command: '{trap}; echo armed; while :; do sleep 0.05; done'\n",
        )
    try:
        booted.boot()
        yield booted
    finally:
        booted.destroy()


def count_shells(machine):
    """How many of the services' shells there are, whoever started them."""
    return int(machine.run("pgrep", "--count", "--full", "^/bin/sh -s --$", code=None))


def is_whole(machine, before):
    """Ten programs, ready, none of the processes of before."""
    after = machine.pids()
    return machine.is_converged() and len(after) == SERVICES and not {*before.values()} & {*after.values()}


def supervisor(machine):
    return int(machine.run("pgrep", "--parent", str(machine.main_pid())).split()[0])


def test_each_program_has_a_control_group_of_its_own(machine):
    for name, pid in machine.pids().items():
        group = machine.run("cat", f"/proc/{pid}/cgroup").strip()
        assert group.endswith(f"/bootstrap.service/{name}")


def test_a_killed_supervisor_is_replaced_soon(machine):
    took = []
    for _ in range(3):
        before = machine.pids()
        begun = time.monotonic()
        machine.run("pkill", "-KILL", "--full", "bootstrap.world.daemon")
        wait_until(lambda before=before: is_whole(machine, before), "the ten to be back")
        took.append(time.monotonic() - begun)
        wait_until(lambda: count_shells(machine) == SERVICES, "one of each")  # a shell that forks is two for a moment
    assert sorted(took)[1] < TOO_LONG_S


def test_boot_itself_may_be_killed_and_the_programs_do_not_notice(machine):
    before, old = machine.pids(), machine.main_pid()
    machine.run("kill", "-KILL", str(old))
    wait_until(lambda: machine.main_pid() not in {0, old}, "systemd to start it again")
    wait_until(machine.is_converged, "it to look")
    assert machine.pids() == before


def test_everything_of_ours_may_be_killed_and_there_is_one_of_each_again(machine):
    before = machine.pids()
    machine.run("pkill", "-KILL", "--full", "bootstrap( |.world.)(boot|daemon)")
    wait_until(lambda: is_whole(machine, before), "the ten to be back")
    wait_until(lambda: count_shells(machine) == SERVICES, "one of each")  # a shell that forks is two for a moment


def test_a_stop_and_a_reboot_go_in_reverse_order_and_leave_nothing(machine):
    order = machine.shared / "order"
    order.unlink(missing_ok=True)
    machine.run("systemctl", "stop", "bootstrap")
    names = order.read_text().split()
    assert sorted(names) == sorted(f"s{number}" for number in range(SERVICES))
    assert names[-1] == "s0"
    assert count_shells(machine) == 0
    machine.run("systemctl", "start", "bootstrap")
    wait_until(machine.is_converged, "it to be up again")
    order.unlink()
    machine.power_off()
    names = order.read_text().split()
    assert len(names) == SERVICES
    assert names[-1] == "s0"
