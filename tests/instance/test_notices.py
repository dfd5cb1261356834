"""What is new in instance metadata, and what is no notice at all."""

from __future__ import annotations

import json

import pytest

from bootstrap.instance.notices import (
    Advice,
    End,
    Retire,
    Seen,
    Serve,
    TagsChanged,
    Withdraw,
    diff_seen,
    is_warming,
    pick_ours,
)

SPOT = '{"action": "terminate", "time": "2017-09-18T08:22:00Z"}'
NOTHING = Seen()


def event(code, state="active"):
    return {"NotBefore": "21 Jan 2019 09:00:43 GMT", "Code": code, "Description": "…", "State": state}


def test_a_spot_notice_ends_the_box_at_a_moment_and_is_told_once():
    seen = Seen(spot=SPOT)
    ended = End(reason="spot interruption: terminate at 2017-09-18T08:22:00Z", at=1505722920.0)
    assert diff_seen(NOTHING, seen) == (ended,)
    assert diff_seen(seen, seen) == ()


def test_a_second_spot_notice_is_told_as_well():
    later = Seen(spot='{"action": "stop", "time": "2017-09-18T08:23:00Z"}')
    ended = End(reason="spot interruption: stop at 2017-09-18T08:23:00Z", at=1505722980.0)
    assert diff_seen(Seen(spot=SPOT), later) == (ended,)


def test_a_spot_notice_without_a_readable_time_is_for_soon():
    seen = Seen(spot='{"action": "hibernate", "time": "\\u001b[2J"}')
    assert diff_seen(NOTHING, seen) == (End(reason="spot interruption: hibernate soon", at=None),)


@pytest.mark.parametrize(
    "text",
    [
        "<html>404</html>",
        "",
        "[]",
        "null",
        '{"action": "dance"}',
        "[" * 10_000,
        '{"action": 1}',
        '{"action": ["stop"]}',
    ],
)
def test_what_does_not_read_as_a_notice_is_none(text):
    assert diff_seen(NOTHING, Seen(spot=text, maintenance=text)) == ()


def test_maintenance_of_dying_hardware_asks_for_a_replacement_and_any_other_is_advice():
    seen = Seen(
        maintenance=json.dumps(
            [event("instance-retirement"), event("system-reboot"), event("instance-stop", "completed")]
        )
    )
    when = "not before 21 Jan 2019 09:00:43 GMT"
    assert diff_seen(NOTHING, seen) == (
        Retire(reason=f"maintenance is scheduled: instance-retirement, {when}"),
        Advice(text=f"maintenance is scheduled: system-reboot, {when}"),
    )


def test_a_rebalance_recommendation_is_advice():
    assert diff_seen(NOTHING, Seen(rebalance='{"noticeTime": "2020-11-05T08:22:00Z"}')) == (
        Advice(text="this spot instance is at a higher risk of interruption (rebalance recommendation)"),
    )


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, "InService", ()),
        ("Standby", "InService", (Serve(),)),
        ("InService", "Terminated", (End(reason="its Auto Scaling group takes it out of service"),)),
        (None, "Terminated", (End(reason="its Auto Scaling group takes it out of service"),)),
        ("InService", "Standby", (Withdraw(reason="its Auto Scaling group has put it on standby"),)),
        ("InService", "Detached", (Advice(text="its Auto Scaling group has let it go"),)),
        ("InService", "Warmed:Stopped", ()),
        ("InService", None, ()),
        ("Terminated", "Terminated", ()),
    ],
)
def test_where_the_group_wants_the_box(before, now, expected):
    assert diff_seen(Seen(target_state=before), Seen(target_state=now)) == expected


def test_which_states_are_of_a_warm_pool():
    assert is_warming("Warmed:Stopped")
    assert not is_warming("InService")
    assert not is_warming(None)


def test_changed_tags_are_told_by_key_and_only_when_both_were_read():
    one, two = {"bootstrap:mode": "review", "bootstrap:ref": "a"}, {"bootstrap:mode": "review", "bootstrap:ref": "b"}
    assert diff_seen(Seen(tags=one), Seen(tags=two)) == (TagsChanged(keys=("bootstrap:ref",)),)
    assert diff_seen(Seen(tags=None), Seen(tags=two)) == ()
    assert diff_seen(Seen(tags=two), Seen(tags=two)) == ()


def test_ours_are_the_tags_that_say_what_the_box_is():
    tags = {"bootstrap:mode": "review", "bootstrap:status": "ready", "bootstrap:status.reason": "", "Name": "box"}
    assert pick_ours(tags) == {"bootstrap:mode": "review"}
