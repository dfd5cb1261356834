"""What the loop does with an `up` that fails, depending on what the box is just then."""

from __future__ import annotations

import pytest

from bootstrap import boot, watch
from bootstrap.box import Box
from bootstrap.duty import Duty
from bootstrap.errors import DefinitionError, Unavailable
from bootstrap.request import Request
from bootstrap.world import clock


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


def test_a_first_up_that_fails_ends_the_boot(loop):
    made, _ = loop(Unavailable("no disk"))
    with pytest.raises(Unavailable, match="no disk"):
        made._boot()
