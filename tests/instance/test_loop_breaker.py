"""When the launches of a group are stopped, and when not."""

from __future__ import annotations

import pytest

from bootstrap.instance.loop_breaker import Ended, History, next_history, parse_history, render_history


def boots(*ends):
    """Each end is (instance, at, ok); the answer is the history after all of them, and who tripped it when."""
    history, tripped = History(), []
    for instance, at, ok in ends:
        before = history
        ended = Ended(instance=instance, boot=f"boot of {instance}", at=at, ok=ok, reason="" if ok else "no")
        history = next_history(history, ended)
        if history.tripped is not None and before.tripped is None:
            tripped.append((instance, at))
    return history, tripped


def test_the_third_failure_in_a_row_trips_it_once():
    history, tripped = boots(("i-1", 0, False), ("i-2", 100, False), ("i-3", 200, False), ("i-4", 300, False))
    assert tripped == [("i-3", 200)]
    assert history.tripped == "i-3"


def test_a_success_in_between_forgives():
    assert boots(("i-1", 0, False), ("i-2", 1, False), ("i-3", 2, True), ("i-4", 3, False))[1] == []


def test_failures_spread_over_more_than_a_quarter_of_an_hour_do_not():
    assert boots(("i-1", 0, False), ("i-2", 500, False), ("i-3", 901, False))[1] == []


def test_one_box_that_starts_again_and_again_has_booted_once():
    assert boots(("i-1", 0, False), ("i-1", 10, False), ("i-1", 20, False), ("i-1", 30, False))[1] == []


def test_a_box_that_got_well_after_all_counts_as_well():
    assert boots(("i-1", 0, False), ("i-2", 1, False), ("i-2", 2, True), ("i-3", 3, False), ("i-4", 4, False))[1] == []


def test_after_a_success_it_may_trip_again():
    three = [("i-1", 0, False), ("i-2", 1, False), ("i-3", 2, False)]
    again = [("i-5", 4, False), ("i-6", 5, False), ("i-7", 6, False)]
    assert boots(*three, ("i-4", 3, True), *again)[1] == [("i-3", 2), ("i-7", 6)]


def test_the_same_trouble_on_another_day_trips_it_again():
    three = [("i-1", 0, False), ("i-2", 1, False), ("i-3", 2, False)]
    tomorrow = [("i-5", 90_000, False), ("i-6", 90_001, False), ("i-7", 90_002, False)]
    history, _ = boots(*three, *tomorrow)
    assert history.tripped == "i-7"


def test_the_specimen_stays_one_when_it_is_tried_again_until_it_is_mended():
    three = [("i-1", 0, False), ("i-2", 1, False), ("i-3", 2, False)]
    assert boots(*three, ("i-3", 3, False))[0].tripped == "i-3"
    assert boots(*three, ("i-3", 90_000, False))[0].tripped == "i-3"
    assert boots(*three, ("i-3", 90_000, True))[0].tripped is None


def test_only_the_newest_are_kept():
    history, _ = boots(*((f"i-{number}", number, True) for number in range(30)))
    assert [end.instance for end in history.ends] == [f"i-{number}" for number in range(10, 30)]


def test_a_history_survives_json():
    history, _ = boots(("i-1", 0, False), ("i-2", 1, True))
    assert parse_history(render_history(history)) == history


@pytest.mark.parametrize("raw", [{}, [], {"boots": [{}], "tripped": None}, {"boots": None, "tripped": None}])
def test_anything_else_is_no_history(raw):
    with pytest.raises(ValueError, match="not a history"):
        parse_history(raw)
