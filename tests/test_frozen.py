"""Our dataclasses are as the standard ones: whatever is asked of one, the other answers the same."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest

from bootstrap import frozen

ROOT = Path(frozen.__file__).parents[1]


def define(decorate):
    class Part:
        """Within."""

        text: str

    class Outer:
        """Has all that a field can have."""

        number: int
        inner: Part
        names: tuple[str, ...] = ()
        more: dict[str, int] = dataclasses.field(default_factory=dict, compare=False)
        value: str = dataclasses.field(default="x", repr=False)

        @property
        def double(self):
            return 2 * self.number

    make = decorate(frozen=True, slots=True, kw_only=True)
    return make(Part), make(Outer)


def told(act):
    try:
        return repr(act()).replace("tests.", "")
    except (AttributeError, TypeError) as error:
        return type(error)


QUESTIONS = {
    "repr": lambda _, one: one,
    "fields": lambda _, one: [(field.name, field.default, field.repr) for field in dataclasses.fields(one)],
    "asdict": lambda _, one: dataclasses.asdict(one),
    "replaced": lambda _, one: dataclasses.replace(one, number=2),
    "equal to its like": lambda _, one: one == dataclasses.replace(one),
    "equal to another": lambda _, one: one == dataclasses.replace(one, names=("a",)),
    "equal but for what does not count": lambda _, one: one == dataclasses.replace(one, more={"a": 1}),
    "equal to something else": lambda _, one: one == (1, 2),
    "hash of its like": lambda _, one: hash(one) == hash(dataclasses.replace(one, more={"a": 1})),
    "set": lambda _, one: setattr(one, "number", 3),
    "deleted": lambda _, one: delattr(one, "number"),
    "property": lambda _, one: one.double,
    "its own dictionary": lambda _, one: one.__dict__,
    "class": lambda kind, _: (kind.__doc__, kind.__slots__, kind.__match_args__, kind.__name__, kind.__qualname__),
    "no argument": lambda kind, _: kind(),
    "one too few": lambda kind, one: kind(number=1),
    "one too many": lambda kind, one: kind(number=1, inner=one, other=2),
    "another instead": lambda kind, one: kind(number=1, outer=one),
    "by position": lambda kind, one: kind(1, one),
    "a default of its own": lambda kind, one: kind(number=1, inner=one).more is kind(number=1, inner=one).more,
    "members of a set": lambda kind, one: len({one, dataclasses.replace(one), dataclasses.replace(one, number=9)}),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_answer_is_that_of_the_standard_ones(question):
    answers = []
    for decorate in (frozen.dataclass, dataclasses.dataclass):
        inner, outer = define(decorate)
        one = outer(number=1, inner=inner(text="a"))
        answers.append(told(lambda outer=outer, one=one: QUESTIONS[question](outer, one)))
    assert answers[0] == answers[1]


def test_what_is_missing_and_what_is_unknown_is_named():
    _, outer = define(frozen.dataclass)
    with pytest.raises(TypeError) as error:
        outer(number=1, other=2)
    assert str(error.value) == (
        "define.<locals>.Outer() takes number, inner, names, more, value: missing ['inner'], unknown ['other']"
    )


def test_a_method_of_the_class_is_not_replaced():
    class Odd:
        number: int

        def __repr__(self):
            return "odd"

    assert repr(frozen.dataclass(frozen=True, slots=True, kw_only=True)(Odd)(number=1)) == "odd"


def imports_standard_one(path):
    tree = ast.parse(path.read_text())
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "dataclasses"
        and "dataclass" in {a.name for a in node.names}
        for node in ast.walk(tree)
    )


def test_the_standard_one_is_used_only_where_something_changes_or_is_ordered():
    found = [path for folder in ("bootstrap", "runit_compat") for path in (ROOT / folder).rglob("*.py")]
    for path in found:
        if path != Path(frozen.__file__) and imports_standard_one(path):
            text = path.read_text()
            assert "@dataclass(slots=True" in text or "order=True" in text, f"{path} can do with bootstrap.frozen"
