"""What ``heroku config --json`` prints → key and value; one object of texts and nothing else.

Nothing is guessed: a number or a key that stands twice is no such output. No value is told back.
"""

from __future__ import annotations

import json
from typing import Any

from bootstrap.reading.problem import FlawedError, Problem, decode_text
from bootstrap.spelling import quoted


def parse_config_vars(content: bytes) -> dict[str, str]:
    """Key → value; raises FlawedError with all problems."""
    try:
        pairs = json.loads(decode_text(content), object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        raise FlawedError(Problem(line=error.lineno, text=f"is no JSON: {error.msg} (column {error.colno})")) from None
    except ValueError:  # an integer of thousands of digits
        raise FlawedError(Problem(line=1, text="holds a number that is too long to be one")) from None
    except RecursionError:
        raise FlawedError(Problem(line=1, text="is nested too deeply")) from None
    if not isinstance(pairs, _Pairs):
        raise FlawedError(Problem(line=1, text='should be an object such as {"KEY": "value"}'))
    values: dict[str, str] = {}
    problems: list[Problem] = []
    for key, value in pairs:
        if key in values:
            problems.append(Problem(line=1, text=f"key {quoted(key)} stands twice"))
        elif not isinstance(value, str):
            problems.append(Problem(line=1, text=f"the value of {quoted(key)} should be text, not {_kind(value)}"))
        elif not _is_whole(value):
            text = f"the value of {quoted(key)} holds half a character (a lone surrogate)"
            problems.append(Problem(line=1, text=text))
        else:
            values[key] = value
    if problems:
        raise FlawedError(*problems)
    return values


class _Pairs(list[tuple[str, Any]]):
    """An object with its keys as they stand there, twice or not."""


def _is_whole(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case _Pairs():
            return "an object"
        case list():
            return "a list"
        case _:
            return "a number"
