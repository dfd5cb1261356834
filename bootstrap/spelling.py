"""A wrong word and the right ones → what to tell whoever typed it.

Words of the user are told back quoted, on one line and cut to a bearable length: a tag or a file may hold anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_WORD = 60
LONGEST_LIST = 20


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """The valid word that was probably meant: misspelt, in other letters, or cut short; ``None`` when none is near."""
    from difflib import get_close_matches  # noqa: PLC0415 - only needed when something is wrong

    folded = word[:LONGEST_WORD].casefold()
    by_folded = {choice.casefold(): choice for choice in sorted(valid, reverse=True)}
    found = get_close_matches(folded, by_folded, n=1)
    longer = [choice for choice in by_folded if len(folded) > 2 and choice.startswith(folded)]
    if not found and len(longer) == 1:
        found = longer
    return by_folded[found[0]] if found else None


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """`; did you mean "api"?`, or nothing."""
    near = nearest(word, valid)
    return "" if near is None else f"; did you mean {quoted(near)}?"


def or_list(word: str, valid: Iterable[str], noun: str) -> str:
    """The nearest word; when nothing is near, all of them: `; valid keys are a, b, c`."""
    words = sorted(valid)
    return did_you_mean(word, words) or f"; {noun} are {listed(words)}"


def listed(words: Iterable[str]) -> str:
    """`a, b, c`, cut short when there are very many."""
    words = sorted(words)
    if not words:
        return "none"
    if len(words) > LONGEST_LIST:
        return f"{', '.join(words[:LONGEST_LIST])} and {len(words) - LONGEST_LIST} more"
    return ", ".join(words)


def quoted(word: str) -> str:
    """The word in double quotes, harmless to print."""
    short = word if len(word) <= LONGEST_WORD else word[: LONGEST_WORD - 1] + "…"
    return f'"{harmless(short)}"'


def harmless(text: str) -> str:
    """The text on one line, with nothing in it that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
