"""``config/schema.yaml`` → what each key must hold; environments held against it → what breaks it.

    DATABASE_URL: {required: [api, worker], type: url, secret: true, description: The database of the to-do list}
    LOG_LEVEL: {allowed: [debug, info, warning, error]}

``required: true`` is about every service, a list about those it names. A value is never changed: ``type: boolean`` says
which texts are fit, and programs go on reading text. Keys without a rule are as free as without the file.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from bootstrap.frozen import dataclass
from bootstrap.reading.problem import FlawedError, Problem, decode_text
from bootstrap.reading.scalars import BOOLEAN, NAME_TEXT, TEXT, VARIABLE, choice
from bootstrap.reading.schema import Keys, list_of, read_entries, read_fields
from bootstrap.reading.strict_yaml import NOTHING, List, Node, Scalar, parse_yaml
from bootstrap.spelling import listed, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from bootstrap.variable import Variable

FILE = "config/schema.yaml"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(//[^/\s]+|[^/\s])\S*")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_BOOLEANS = frozenset({"true", "false", "yes", "no", "on", "off", "1", "0"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the schema says about one key."""

    key: str
    line: int  # in FILE
    required: bool | tuple[str, ...] = False  # by every service, or by these
    type: str = "text"
    secret: bool | None = None  # None: it says nothing
    description: str = ""
    allowed: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{FILE}:{self.line}"

    def is_required_by(self, service: str) -> bool:
        """Whether this service can do without the key."""
        return self.required if isinstance(self.required, bool) else service in self.required


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A value that is not what its rule says; the cause holds no secret."""

    rule: Rule
    file: str  # where the value comes from
    expected: str  # an integer
    cause: str  # should be an integer, not "many"


def parse_rules(content: bytes) -> dict[str, Rule]:
    """Key → rule; raises FlawedError with all problems."""
    node = parse_yaml(decode_text(content))
    return {} if node is NOTHING else read_entries(node, _read_rule)


def judge_values(
    rules: Mapping[str, Rule], variables: Mapping[str, Variable], unknown: Collection[str] = ()
) -> Iterator[Breach]:
    """What is not as the rules say; the values of ``unknown`` keys stand in a store that was not asked."""
    for key, rule in rules.items():
        variable = variables.get(key)
        if variable is None or key in unknown:
            continue
        expected = _expected(rule, variable.value)
        if expected is not None:
            found = "and is not (a secret is not shown)" if variable.secret else f"not {quoted(variable.value)}"
            separator = " " if variable.secret else ", "
            cause = f"should be {expected}{separator}{found}"
            yield Breach(rule=rule, file=variable.file, expected=expected, cause=cause)


def secret_keys(rules: Mapping[str, Rule]) -> tuple[str, ...]:
    """The keys that are masked wherever they are set."""
    return tuple(key for key, rule in rules.items() if rule.secret)


def _expected(rule: Rule, value: str) -> str | None:
    """What the value should be and is not."""
    if rule.allowed:
        return None if value in rule.allowed else f"one of {listed(rule.allowed)}"
    expected, fits = TYPES[rule.type]
    return None if fits(value) else expected


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True


def _is_port(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) <= 5 and 1 <= int(value) <= 65535


TYPES: dict[str, tuple[str, Callable[[str], object]]] = {
    "text": ("text", lambda _: True),
    "integer": ("an integer", re.compile(r"[+-]?\d+", re.ASCII).fullmatch),
    "number": ("a number", _NUMBER.fullmatch),
    "boolean": ("true, false, yes, no, on, off, 1 or 0", lambda value: value.lower() in _BOOLEANS),
    "port": ("a port from 1 to 65535", _is_port),
    "url": ("a URL such as https://host/path", _URL.fullmatch),
    "json": ("JSON", _is_json),
}


def _read_required(node: Node) -> bool | tuple[str, ...]:
    return list_of(NAME_TEXT)(node) if isinstance(node, List) else BOOLEAN(node)


_RULE: Keys = {
    "required": ("required", _read_required),
    "type": ("type", choice(*TYPES)),
    "secret": ("secret", BOOLEAN),
    "description": ("description", TEXT),
    "allowed": ("allowed", list_of(TEXT)),
}


def _read_rule(key: Scalar, node: Node) -> Rule:
    VARIABLE(key)
    if node == Scalar("", node.line):
        return Rule(key=key.text, line=key.line)
    values, problems = read_fields(node, _RULE)
    rule = Rule(key=key.text, line=key.line, **values)
    problems += [
        Problem(line=key.line, path=("allowed",), text=f"{quoted(text)} is not of the type, {TYPES[rule.type][0]}")
        for text in rule.allowed
        if _expected(replace(rule, allowed=()), text) is not None
    ]
    if problems:
        raise FlawedError(*problems)
    return rule
