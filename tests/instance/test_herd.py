"""When a whole group is ill of the same thing."""

from __future__ import annotations

import pytest

from bootstrap.instance.herd import most_fail_alike, next_notes, parse_notes


def notes(*told):
    made = {}
    for instance, failing, now in told:
        made = next_notes(made, instance, failing, now)
    return made


def test_a_note_is_renewed_withdrawn_and_forgotten():
    assert notes(("i-1", ["api-web"], 0.0), ("i-1", ["api-web"], 50.0)) == {"api-web": {"i-1": 50.0}}
    assert notes(("i-1", ["api-web"], 0.0), ("i-1", [], 50.0)) == {}
    assert notes(("i-1", ["api-web"], 0.0), ("i-2", ["api-web"], 121.0)) == {"api-web": {"i-2": 121.0}}


@pytest.mark.parametrize(
    ("failing", "members", "expected"),
    [
        (1, 1, False),
        (1, 2, False),
        (2, 2, True),
        (2, 3, True),
        (2, 4, False),
        (3, 4, True),
        (3, 5, True),
        (2, 5, False),
    ],
)
def test_most_means_more_than_half_and_not_one_alone(failing, members, expected):
    told = notes(*((f"i-{number}", ["api-web"], 0.0) for number in range(failing)))
    assert most_fail_alike(told, ["api-web"], members) is expected


def test_only_the_same_check_counts():
    told = notes(("i-1", ["api-web"], 0.0), ("i-2", ["api-worker"], 0.0))
    assert not most_fail_alike(told, ["api-web"], 2)


@pytest.mark.parametrize("raw", [None, [], {"a": None}, {"a": {"b": None}}, {"a": {"b": "x"}}])
def test_anything_else_is_no_notes(raw):
    with pytest.raises(ValueError, match=r".+"):
        parse_notes(raw)
