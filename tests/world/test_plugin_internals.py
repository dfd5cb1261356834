"""The internals of supervisor 4.3 that our plug-in touches: a new release that moves one of them fails here first."""

from __future__ import annotations

import inspect
import re

import pytest
from supervisor import dispatchers, events, loggers, options, process, supervisord
from supervisor.http import deferring_http_channel, make_http_servers
from supervisor.states import ProcessStates, SupervisorStates


@pytest.mark.parametrize(
    ("holder", "name", "parameters"),
    [
        (supervisord.Supervisor, "ordered_stop_groups_phase_1", ["self"]),
        (supervisord.Supervisor, "ordered_stop_groups_phase_2", ["self"]),
        (supervisord.Supervisor, "add_process_group", ["self", "config"]),
        (supervisord.Supervisor, "remove_process_group", ["self", "name"]),
        (options.ServerOptions, "waitpid", ["self"]),
        (options.ServerOptions, "fork", ["self"]),
        (process.Subprocess, "get_execv_args", ["self"]),
        (process.Subprocess, "spawn", ["self"]),
        (process.Subprocess, "stop", ["self"]),
        (dispatchers.POutputDispatcher, "_init_normallog", ["self"]),
        (loggers.RotatingFileHandler, "doRollover", ["self"]),
        (options.ServerOptions, "get_socket_map", ["self"]),
        (options.ServerOptions, "process_groups_from_parser", ["self", "parser"]),
        (process.Subprocess, "change_state", ["self", "new_state", "expected"]),
        (process.ProcessGroupBase, "get_unstopped_processes", ["self"]),
        (process.ProcessGroupBase, "stop_all", ["self"]),
        (events, "subscribe", ["type", "callback"]),
    ],
)
def test_what_is_called_or_replaced_has_the_known_signature(holder, name, parameters):
    assert list(inspect.signature(getattr(holder, name)).parameters) == parameters


def test_all_that_a_process_waits_for_is_told_by_one_clock_that_can_be_replaced():
    source = inspect.getsource(process)
    assert "import time" in source
    assert set(re.findall(r"\btime\.(\w+)", source)) == {"time"}
    assert "test_time" in inspect.signature(process.Subprocess._check_and_adjust_for_system_clock_rollback).parameters


@pytest.mark.parametrize("name", ["backoff", "delay", "laststart", "state", "pid", "config", "spawnerr"])
def test_what_is_read_or_set_on_a_process_is_an_attribute_of_it(name):
    assert hasattr(process.Subprocess(config=None), name) or name in inspect.getsource(process.Subprocess.__init__)


def test_the_main_loop_polls_then_moves_then_reaps_then_handles_one_signal():
    source = inspect.getsource(supervisord.Supervisor.runforever)
    order = [
        "ordered_stop_groups_phase_1",
        "poller.poll(",
        "transition()",
        "self.reap()",
        "self.handle_signal()",
        "phase_2",
    ]
    places = [source.index(word) for word in order]
    assert places == sorted(places)


def test_a_spawn_asks_for_arguments_then_makes_pipes_then_forks_and_goes_on_as_parent():
    source = inspect.getsource(process.Subprocess.spawn)
    order = ["self.get_execv_args()", "self.dispatchers, self.pipes =", "options.fork()", "_spawn_as_parent(pid)"]
    places = [source.index(word) for word in order]
    assert places == sorted(places)


def test_what_has_ended_may_be_called_stopped_instead_of_what_supervisord_makes_of_it():
    """Nothing after the last word about an end asks for another state; and what is stopped stays so."""
    source = inspect.getsource(process.Subprocess.finish)
    after = source[source.rindex("change_state(ProcessStates.EXITED") :]
    assert "_assertInState" not in after
    assert "state == ProcessStates.STOPPED and not self.laststart" in inspect.getsource(process.Subprocess.transition)


def test_a_backoff_beyond_the_retries_is_given_up_and_a_due_one_is_spawned():
    source = inspect.getsource(process.Subprocess.transition)
    assert "if self.backoff <= self.config.startretries:\n                    if now > self.delay:" in source
    assert "if self.backoff > self.config.startretries:" in source


def test_the_numbers_of_the_states_are_those_that_the_client_maps():
    from bootstrap.world.supervisord import _STATES

    known = {name: number for name, number in vars(ProcessStates).items() if not name.startswith("_")}
    assert sorted(_STATES) == sorted(known.values())
    assert (SupervisorStates.RUNNING, SupervisorStates.SHUTDOWN) == (1, -1)


def test_the_hook_is_given_the_supervisord_object():
    assert "factory(supervisord, **d)" in inspect.getsource(make_http_servers)


def test_an_answer_is_sent_in_pieces_whose_size_can_be_set_one_in_each_round_of_the_loop():
    assert isinstance(vars(deferring_http_channel)["ac_out_buffer_size"], int)
    assert "self.send (self.ac_out_buffer[:obs])" in inspect.getsource(deferring_http_channel.initiate_send)
