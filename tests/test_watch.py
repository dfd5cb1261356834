"""What the loop does with an `up` that fails, depending on what the box is just then."""

from __future__ import annotations

import time

import pytest

from bootstrap import boot, watch
from bootstrap.box import Box
from bootstrap.duty import Duty
from bootstrap.errors import DefinitionError, Unavailable
from bootstrap.request import Request
from bootstrap.world import clock, store
from bootstrap.world.supervisord import NOTHING


class Specimen(Duty):
    def keeps(self):
        return True


@pytest.fixture
def loop(monkeypatch, tmp_path):
    """Makes a loop whose `up` raises this; ``said`` is what it says."""

    def make(error, *duties):
        def up(*_):
            raise error

        monkeypatch.setattr(boot, "up", up)
        said = []
        box = Box(root=str(tmp_path), state=str(tmp_path))
        made = watch._Loop(
            box=box,
            request=Request(),
            say=lambda _, text: said.append(text),
            announce=lambda _: None,
            signals=None,
            duties=duties,
        )
        return made, said

    return make


def seconds_left(made):
    return made.again_at - clock.now()


def test_what_is_out_of_reach_is_asked_again_after_a_pause_that_grows(loop):
    made, said = loop(Unavailable("no disk"))
    for pause in ("0.25", "0.5", "1"):
        made._up_again()
        assert said[-2:] == ["error: no disk", f"trying again in {pause} s"]
        assert 0 < seconds_left(made) <= float(pause)


def test_input_that_is_refused_waits_for_somebody_to_mend_it(loop):
    made, said = loop(DefinitionError("odd"))
    made._up_again()
    assert said == ["error: odd", "what runs goes on as it is; SIGHUP tries again"]
    assert seconds_left(made) == float("inf")


@pytest.mark.parametrize("error", [DefinitionError("odd"), Unavailable("odd")])
def test_a_box_that_waits_looks_again_whatever_it_was_refused(loop, error):
    made, said = loop(error)
    made.is_down = True
    made._up_again()
    assert said == ["error: odd", "looking again in 60 s"]
    assert 50 < seconds_left(made) <= watch.IDLE_S


@pytest.mark.parametrize("error", [DefinitionError("odd"), Unavailable("odd")])
def test_a_specimen_stays_as_it_is(loop, error):
    made, said = loop(error, Specimen())
    made._boot()
    assert (said, made.is_down) == (["error: odd"], True)
    made._up_again()
    assert said == ["error: odd", "error: odd"]
    assert seconds_left(made) == float("inf")


class Listener(Duty):
    def __init__(self):
        self.seen = []
        self.rested = 0

    def rest(self, _last):
        self.rested += 1

    def turn(self, generation, observed):
        self.seen.append((generation, observed.daemon, observed.programs))
        return 0.01


class Silent:
    """Nobody signals anything, and time goes by as it is waited for."""

    up_asked = False

    def __init__(self):
        self.waited = []

    def wait(self, _pid, timeout_s):
        self.waited.append(timeout_s)
        time.sleep(timeout_s)


def test_only_trouble_that_lasts_shows_the_duties_a_box_on_which_nothing_is_known_to_run(loop, monkeypatch):
    listener = Listener()
    made, said = loop(Unavailable("unused"), listener)
    made.signals = Silent()
    monkeypatch.setattr(store, "read_current", lambda _box: "generation")
    monkeypatch.setattr(watch, "FIRST_PAUSE_S", 0.02)
    made.pause_s = 0.02
    made._be_troubled(Unavailable("no supervisor"))
    assert (listener.seen, len(made.signals.waited)) == ([], 1)
    made._be_troubled(Unavailable("no supervisor"))
    assert len(listener.seen) >= 2
    assert set(listener.seen) == {("generation", None, ())}
    assert said == ["error: no supervisor", "trying again in 0.02 s", "error: no supervisor", "trying again in 0.04 s"]


def test_duties_rest_where_nothing_is_in_force_unless_it_runs_on(loop, monkeypatch):
    listener = Listener()
    made, _ = loop(Unavailable("unused"), listener)
    made._take_turns(NOTHING)
    assert (listener.rested, listener.seen) == (1, [])
    monkeypatch.setattr(store, "read_current", lambda _box: "generation")
    made._take_turns(NOTHING)
    monkeypatch.setattr(store, "read_current", lambda _box: None)  # it can't be read any more
    made._take_turns(NOTHING)
    assert (listener.rested, listener.seen) == (1, [("generation", None, ())] * 2)


def test_a_machine_in_trouble_is_watched_on(loop, monkeypatch):
    made, said = loop(Unavailable("unused"))
    made.signals = Silent()
    made.pause_s = 0.01
    errors = [OSError(24, "Too many open files"), KeyboardInterrupt()]

    def step(_self):
        raise errors.pop(0)

    monkeypatch.setattr(watch._Loop, "_boot", lambda _self: None)
    monkeypatch.setattr(watch._Loop, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert said[0].startswith("error: cannot watch this box: [Errno 24] Too many open files\n")
    assert said[1:] == ["trying again in 0.01 s"]


def test_a_first_up_that_fails_ends_the_boot(loop):
    made, _ = loop(Unavailable("no disk"))
    with pytest.raises(Unavailable, match="no disk"):
        made._boot()


class Witnessing(Duty):
    def __init__(self):
        self.heard = []

    def begin(self):
        self.heard.append("begin")

    def fail(self, failures):
        self.heard.append(failures)

    def end(self):
        self.heard.append("end")


def test_who_waits_for_a_box_hears_that_its_disk_refuses_the_lock(monkeypatch, tmp_path):
    def refuse(_box):
        raise Unavailable("no lock")

    monkeypatch.setattr(watch.lock, "watching", refuse)
    duty, box = Witnessing(), Box(root=str(tmp_path), state=str(tmp_path))
    with pytest.raises(Unavailable, match="no lock"):
        watch.watch(box, Request(), lambda *_: None, lambda _: None, (duty,))
    assert duty.heard == ["begin", ("no lock",), "end"]


class Starved(Duty):
    def turn(self, _generation, _observed):
        raise OSError("too many open files")

    def rest(self, _last):
        raise OSError("too many open files")


def test_a_duty_that_meets_a_machine_in_trouble_holds_up_no_other(loop, monkeypatch):
    listener = Listener()
    made, said = loop(Unavailable("unused"), Starved(), listener)
    made._rest()
    monkeypatch.setattr(store, "read_current", lambda _box: "generation")
    made._take_turns(watch.supervisord.NOTHING)
    assert said == ["error: too many open files"] * 2
    assert (listener.rested, len(listener.seen)) == (1, 1)
