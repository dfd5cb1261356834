"""The text of a ``.env`` in a layer → its variables, as python-dotenv reads it, without interpolation.

What python-dotenv would pass over with a warning is an error with its line. No line is told back: it may hold a secret.
"""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING

from bootstrap.reading.problem import FlawedError, Problem, decode_text
from bootstrap.variable import KEY, is_reserved, is_too_long

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotenv.parser import Binding

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_BLANKS = re.compile(r"[^\S\r\n]{200}")  # python-dotenv's time grows with the square of such a run


def parse_dotenv(content: bytes) -> dict[str, str]:
    """Key → value, the last line with a key wins; raises FlawedError with all problems."""
    return _parse(content, _find_fault)


def parse_foreign(content: bytes) -> dict[str, str]:
    """The same for a file that was not written for bootstrap: who takes it over judges the names."""
    return _parse(content, _find_wrong_form)


def parse_secrets(content: bytes) -> dict[str, str]:
    """The same for ``ssm:/name=value`` and ``'secret:id#key'=value``, where a reference stands before the ``=``."""
    return _parse(content, _find_fault_of_secret)


def find_lines(content: bytes, key: str) -> tuple[int, int] | None:
    """The first and the last line (counted from 1) of what sets the key in the end; raises FlawedError."""
    from dotenv.parser import parse_stream  # noqa: PLC0415 - slow to import

    found = None
    for binding in parse_stream(StringIO(decode_text(content), newline=None)):
        if binding.key == key and binding.value is not None:
            first = _line_of(binding)
            found = first, first + binding.original.string.strip().count("\n")
    return found


def render_line(key: str, value: str) -> str | None:
    r"""The line that ``parse_dotenv`` reads this value from; ``None`` if there is none.

    Always in double quotes, which hold every text but NUL: python-dotenv (1.0 to 1.2, ``parser.py``) undoes ``\\``,
    ``\"``, ``\n``, ``\r`` and ``\t`` in them and leaves ``$`` alone as long as nobody interpolates. Before 1.2 it takes
    a backslash in front of the closing quote for an escape, whatever stands before it; so such a value has no line.
    """
    if value.endswith("\\"):
        return None
    text = "".join(_ESCAPES.get(char, char) for char in value)
    line = f'{key}="{text}"\n'
    try:
        return line if parse_dotenv(line.encode()) == {key: value} else None
    except (FlawedError, UnicodeEncodeError):
        return None


def _parse(content: bytes, find_fault: Callable[[Binding], str | None]) -> dict[str, str]:
    from dotenv.parser import parse_stream  # noqa: PLC0415 - slow to import

    values: dict[str, str] = {}
    problems: list[Problem] = []
    text = decode_text(content)
    if blanks := _BLANKS.search(text):
        line = text.count("\n", 0, blanks.start()) + 1
        raise FlawedError(Problem(line=line, text="holds 200 blanks in a row; keep it shorter"))
    for binding in parse_stream(StringIO(text, newline=None)):
        fault = find_fault(binding)
        if fault is not None:
            problems.append(Problem(line=_line_of(binding), text=fault))
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    if problems:
        raise FlawedError(*problems)
    return values


def _find_wrong_form(binding: Binding) -> str | None:
    if binding.error:
        return "should be like KEY=value" + (", with the quote closed" if _opens_quote(binding) else "")
    if binding.key is not None and binding.value is None:
        return "should be like KEY=value, not without a ="
    return None


def _opens_quote(binding: Binding) -> bool:
    value = binding.original.string.partition("=")[2].strip()
    quote = value[:1]
    return quote in {"'", '"'} and value.count(quote) - value.count(f"\\{quote}") == 1


def _find_fault(binding: Binding) -> str | None:
    key, value = binding.key, binding.value
    if key is None or value is None:  # a comment or an empty line, unless it is wrong
        return _find_wrong_form(binding)
    if not KEY.fullmatch(key):
        return "what stands before = is no name for a variable; use letters, digits and _, no digit first"
    if is_reserved(key):
        return f"{key} is set by bootstrap alone; give the variable another name"
    return f"{key} is longer than any program's environment can hold" if is_too_long(key, value) else None


def _find_fault_of_secret(binding: Binding) -> str | None:
    if not binding.error and binding.key is None:
        return None
    if binding.error or binding.value is None or not (binding.key or "").startswith(("ssm:", "secret:")):
        return "should be like ssm:/name=value, with a # in the name like 'secret:id#key'=value"
    return None


def _line_of(binding: Binding) -> int:
    """The line that the text stands on; the parser counts from the empty lines before it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
