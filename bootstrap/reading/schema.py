"""Node → value, by a table of what each key holds.

A reader takes a node and gives back a value, or raises FlawedError with everything wrong at and below that node. A
scalar is read by the type that its key expects: `no` is text where text is expected, `0123` is no number, and quotes
change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

from bootstrap.reading.problem import FlawedError, Problem
from bootstrap.reading.strict_yaml import Forbidden, List, Map, Node, Scalar
from bootstrap.spelling import nearest, or_list, quoted

T = TypeVar("T")
MOST = 1000
Reader: TypeAlias = Callable[[Node], T]
Keys: TypeAlias = Mapping[str, tuple[str, Reader[Any]]]  # key in the file → (field of the value, reader)


def scalar(expected: str, parse: Callable[[str], T | None]) -> Reader[T]:
    """Read a text with ``parse``: it returns ``None`` for what is not as expected, or raises ValueError to say more."""

    def read(node: Node) -> T:
        if not isinstance(node, Scalar):
            raise mismatch(node, expected)
        try:
            value = parse(node.text)
        except ValueError as error:
            raise FlawedError(Problem(line=node.line, text=str(error))) from None
        if value is None:
            raise mismatch(node, expected)
        return value

    return read


def list_of(read_item: Reader[T]) -> Reader[tuple[T, ...]]:
    """Read a list; the same item twice is a slip of the pen."""

    def read(node: Node) -> tuple[T, ...]:
        if not isinstance(node, List):
            raise mismatch(node, "a list")
        _refuse_many(node, len(node.items))
        values: list[T] = []
        problems: list[Problem] = []
        for index, item in enumerate(node.items):
            try:
                value = read_item(item)
            except FlawedError as flaw:
                problems += [problem.below(str(index)) for problem in flaw.problems]
                continue
            if value in values:
                problems.append(Problem(line=item.line, path=(str(index),), text="stands twice"))
            values.append(value)
        if problems:
            raise FlawedError(*problems)
        return tuple(values)

    return read


def read_entries(node: Node, read_value: Callable[[Scalar, Node], T]) -> dict[str, T]:
    """Read a mapping whose keys are the user's own names; ``read_value`` judges the key too."""
    problems: list[Problem] = []
    values: dict[str, T] = {}
    for key, child in _sound_entries(node, problems):
        try:
            values[key.text] = read_value(key, child)
        except FlawedError as flaw:
            problems += [problem.below(key.text) for problem in flaw.problems]
    if problems:
        raise FlawedError(*problems)
    return values


def read_fields(node: Node, keys: Keys, *required: str) -> tuple[dict[str, Any], list[Problem]]:
    """Read a mapping whose keys are ours: the fields that could be read, and what is wrong with the others.

    Raises FlawedError if it is no mapping.
    """
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    present: set[str | None] = set()  # a misspelt key is not missing too
    for key, child in _sound_entries(node, problems):
        if key.text not in keys:
            present.add(nearest(key.text, keys))
            text = f"unknown key{or_list(key.text, keys, 'valid keys')}{_after_comma(key.text, child)}"
            problems.append(Problem(line=key.line, path=(key.text,), text=text))
            continue
        present.add(key.text)
        field, read = keys[key.text]
        try:
            values[field] = read(child)
        except FlawedError as flaw:
            problems += [problem.below(key.text) for problem in flaw.problems]
    problems += [
        Problem(line=node.line, path=(key,), text="is missing and must be given")
        for key in required
        if key not in present
    ]
    return values, problems


def _after_comma(key: str, child: Node) -> str:
    """Words without a value: what stands behind the comma in `{description: one, with another}`."""
    is_text = " " in key and isinstance(child, Scalar) and not child.text
    return " (inside { } a comma ends a text, unless it stands in quotes)" if is_text else ""


def record(build: Callable[..., T], keys: Keys, *required: str) -> Reader[T]:
    """Read a mapping whose keys are ours into a value."""

    def read(node: Node) -> T:
        values, problems = read_fields(node, keys, *required)
        if problems:
            raise FlawedError(*problems)
        return build(**values)

    return read


def mismatch(node: Node, expected: str) -> FlawedError:
    """The error for a node of another kind than its key expects."""
    match node:
        case Forbidden(text=text):
            return FlawedError(Problem(line=node.line, text=text))
        case Scalar(text=""):
            found = "nothing"
        case Scalar(text=text):
            found = quoted(text)
        case List():
            found = "a list"
        case Map():
            found = "a mapping"
    return FlawedError(Problem(line=node.line, text=f"should be {expected}, not {found}"))


def _refuse_many(node: Node, count: int) -> None:
    """A file that passes this has few enough mistakes to look for the nearest word to each."""
    if count > MOST:
        raise FlawedError(Problem(line=node.line, text=f"should hold {MOST} entries at most, not {count}"))


def _sound_entries(node: Node, problems: list[Problem]) -> Iterator[tuple[Scalar, Node]]:
    """The entries whose key is a text that did not stand there before."""
    if not isinstance(node, Map):
        raise mismatch(node, "a mapping")
    _refuse_many(node, len(node.entries))
    lines: dict[str, int] = {}
    for key, child in node.entries:
        if not isinstance(key, Scalar):
            problems.append(Problem(line=key.line, text="a key should be text"))
        elif key.text in lines:
            text = f"stands twice, first in line {lines[key.text]}"
            problems.append(Problem(line=key.line, path=(key.text,), text=text))
        else:
            lines[key.text] = key.line
            yield key, child
