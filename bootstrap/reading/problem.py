"""What is wrong with a file: the line, the path inside it, a sentence.

Readers raise ``FlawedError`` with everything they found below their own place; who called them puts the key in front.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from bootstrap.frozen import dataclass
from bootstrap.spelling import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLAIN_KEY = re.compile(r"[\w.-]{1,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to mend."""

    line: int
    text: str
    path: tuple[str, ...] = ()

    def below(self, key: str) -> Problem:
        """The same problem, seen from one level up."""
        return replace(self, path=(key, *self.path))


class FlawedError(Exception):
    """A text or a part of it is wrong; holds every problem found."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems


def render_problems(file: str, problems: Iterable[Problem]) -> list[str]:
    """One line each, in the order of the file: `services/api/service.yaml:12: processes/web/port: should be …`."""
    return [
        ": ".join(part for part in (f"{file}:{problem.line}", render_path(problem.path), problem.text) if part)
        for problem in sorted(problems, key=lambda problem: problem.line)
    ]


def render_path(path: tuple[str, ...]) -> str:
    """`processes/web/port`; a key that would read as something else is quoted."""
    return "/".join(key if _PLAIN_KEY.fullmatch(key) else quoted(key) for key in path)


def decode_text(content: bytes) -> str:
    """The text of a file; raises FlawedError for what is not UTF-8 or holds NUL."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise FlawedError(Problem(line=line, text="is not valid UTF-8")) from error
    position = text.find("\0")
    if position >= 0:
        raise FlawedError(Problem(line=text.count("\n", 0, position) + 1, text="holds a NUL character"))
    return text
