"""Where ``config import`` and ``config verify`` read from: Heroku, a dotenv file; and what both leave out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

import click

from bootstrap.errors import Refused
from bootstrap.reading.problem import FlawedError, render_problems
from bootstrap.spelling import did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
V = TypeVar("V")
F = TypeVar("F", bound="Callable[..., object]")
_LARGEST = 16 * 1024 * 1024

without_option = click.option("--without", multiple=True, metavar="KEY", help="Leave this key out; repeatable.")


def read_heroku(app: str, file: str | None) -> dict[str, str]:
    """The config vars of an app, from a file (``-``: standard input) or the Heroku CLI."""
    from bootstrap.config.config_vars import parse_config_vars  # noqa: PLC0415 - not for --help
    from bootstrap.world.config.heroku import read_config_vars  # noqa: PLC0415 - likewise

    content = read_config_vars(app) if file is None else _read_file(file)
    return _parse(file or f"heroku config --json --app {app}", content, parse_config_vars)


def read_dotenv(file: str) -> dict[str, str]:
    """The variables of a dotenv file."""
    from bootstrap.config.dotenv_file import parse_foreign  # noqa: PLC0415 - not for --help

    return _parse(file, _read_file(file), parse_foreign)


def leave_out(values: Mapping[str, V], without: tuple[str, ...]) -> dict[str, V]:
    """The values but for these keys; raises Refused for a key that is not there."""
    for key in without:
        if key not in values:
            raise Refused(f"cannot leave out {quoted(key)}: there is no such key{did_you_mean(key, values)}")
    return {key: value for key, value in values.items() if key not in without}


def _parse(name: str, content: bytes, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(content)
    except FlawedError as flaw:
        raise Refused(*render_problems(name, flaw.problems)) from None


def _read_file(path: str) -> bytes:
    try:
        if path == "-":
            content = sys.stdin.buffer.read(_LARGEST + 1)
        else:
            with open(path, "rb") as file:
                content = file.read(_LARGEST + 1)
    except OSError as error:
        raise Refused(
            f"cannot read {quoted(path)}: {error.strerror}\n"
            "  way out: name a file that you may read, or - for standard input"
        ) from None
    if len(content) > _LARGEST:
        raise Refused(f"cannot read {quoted(path)}: it is larger than 16 MiB\n  way out: name the right file")
    return content
