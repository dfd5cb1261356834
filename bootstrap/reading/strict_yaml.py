"""Text → Node: the part of YAML that a definition may be written in.

One document of mappings, lists and text. Anchors, aliases, tags, several documents and deep nesting are refused;
nothing is guessed about scalars, quoted or not: whoever expects a number reads one from the text. The parser's events
are read one by one, so a bomb is refused at its first level and recursion has no depth to run into.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from bootstrap.reading.problem import FlawedError, Problem
from bootstrap.spelling import harmless

if TYPE_CHECKING:
    from collections.abc import Callable

    import yaml

DEEPEST = 20
_UNPRINTABLE = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


# Named tuples: a big catalog has tens of thousands of nodes, and a frozen dataclass takes three times as long to make.
class Scalar(NamedTuple):
    """A text, exactly as it stands there."""

    text: str
    line: int


class List(NamedTuple):
    """A sequence."""

    items: tuple[Node, ...]
    line: int


class Map(NamedTuple):
    """A mapping as it was written: keys may be wrong or stand twice."""

    entries: tuple[tuple[Node, Node], ...]
    line: int


class Forbidden(NamedTuple):
    """A node that uses a part of YAML that is refused; ``text`` says which."""

    text: str
    line: int


Node: TypeAlias = Scalar | List | Map | Forbidden


NOTHING: Node = Scalar("", 1)


def parse_yaml(text: str) -> Node:
    """The root node of the one document, ``NOTHING`` if there are only comments.

    Raises FlawedError.
    """
    import yaml  # noqa: PLC0415 - slow to import, and not every command reads definitions

    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    try:
        return _compose(loader(text))
    except yaml.YAMLError as error:
        raise FlawedError(_syntax_problem(text, error)) from error


def nodes_at(node: Node, *pattern: str) -> list[tuple[tuple[str, ...], Node]]:
    """What stands at a path below this node, with the path; `*` is every key or index."""
    found: list[tuple[tuple[str, ...], Node]] = [((), node)]
    for wanted in pattern:
        found = [
            ((*path, key), child) for path, parent in found for key, child in _children(parent) if wanted in ("*", key)
        ]
    return found


def line_of(node: Node, *path: str) -> int:
    """The line of what stands at this path, or of the nearest thing above it."""
    for key in path:
        node = next((child for name, child in _children(node) if name == key), node)
    return node.line


def _children(node: Node) -> list[tuple[str, Node]]:
    if isinstance(node, Map):
        return [(key.text, child) for key, child in node.entries if isinstance(key, Scalar)]
    if isinstance(node, List):
        return [(str(index), item) for index, item in enumerate(node.items)]
    return []


def _compose(parser: yaml.CSafeLoader | yaml.SafeLoader) -> Node:
    from yaml.events import (  # noqa: PLC0415 - the caller has imported yaml already
        AliasEvent,
        DocumentStartEvent,
        MappingEndEvent,
        MappingStartEvent,
        ScalarEvent,
        SequenceEndEvent,
        SequenceStartEvent,
    )

    siblings: list[Node] = []  # in the list or mapping that is being read; outside of all, the documents
    above: list[tuple[Any, list[Node]]] = []  # how each open list or mapping starts, and the siblings it has
    next_event: Callable[[], Any] = parser.get_event  # the stubs know nothing of what an event holds
    while (event := next_event()) is not None:
        kind = type(event)
        if kind is ScalarEvent or kind is AliasEvent:
            siblings.append(_forbidden(event) or Scalar(event.value, event.start_mark.line + 1))
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            if len(above) == DEEPEST:
                raise _flaw(event, f"is nested deeper than {DEEPEST} levels")
            above.append((event, siblings))
            siblings = []
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            start, outer = above.pop()
            outer.append(_forbidden(start) or _close(start, siblings, is_map=kind is MappingEndEvent))
            siblings = outer
        elif kind is DocumentStartEvent and siblings:
            raise _flaw(event, "a second document starts here; one file holds one")
    return siblings[0] if siblings else NOTHING


def _forbidden(event: Any) -> Forbidden | None:
    if event.anchor is not None:
        return Forbidden("anchors and aliases are not allowed; write the value out", event.start_mark.line + 1)
    if event.tag is not None:
        return Forbidden("tags are not allowed; write the value without it", event.start_mark.line + 1)
    return None


def _close(start: Any, children: list[Node], *, is_map: bool) -> List | Map:
    line = start.start_mark.line + 1
    if is_map:
        return Map(tuple(zip(children[::2], children[1::2], strict=True)), line)
    return List(tuple(children), line)


def _flaw(event: Any, text: str) -> FlawedError:
    return FlawedError(Problem(line=event.start_mark.line + 1, text=text))


def _syntax_problem(text: str, error: yaml.YAMLError) -> Problem:
    import yaml  # noqa: PLC0415 - the caller has imported it already

    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        return Problem(line=line, text=f"cannot be read as YAML: {harmless(str(error.problem or error.context))}")
    unprintable = _UNPRINTABLE.search(text)
    if unprintable is None:
        return Problem(line=1, text="cannot be read as YAML")
    line = text.count("\n", 0, unprintable.start()) + 1
    return Problem(line=line, text=f"holds the character U+{ord(unprintable[0]):04X}, which YAML does not allow")
