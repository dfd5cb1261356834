"""An environment → the text that another tool reads it from.

A value that the format cannot hold unchanged is refused by its key, and so is all of it: half an export is none.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from bootstrap.config.dotenv_file import parse_dotenv, render_line
from bootstrap.errors import Refused
from bootstrap.launcher import quote
from bootstrap.reading.problem import FlawedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SIMPLE = re.compile(r"[A-Za-z0-9_./:@%+,-]*")
_SYSTEMD_ESCAPED = re.compile(r'["\\`$]')
_DOCKER_LONGEST = 64 * 1024 - 1  # bytes of a line: bufio.MaxScanTokenSize, with its newline
_HEROKU_LARGEST = 64 * 1024  # bytes of all names and values together


class _CannotHoldError(ValueError):
    """The format has no way to say this value; the text completes "its value …"."""


def render_export(form: str, values: Mapping[str, str]) -> str:
    """The whole text in this format, keys in alphabetical order; raises Refused with every key that it cannot hold."""
    problems: list[str] = []
    lines: list[str] = []
    for key, value in sorted(values.items()):
        try:
            lines.append(_LINES[form](key, _unicode(value)))
        except _CannotHoldError as error:
            problems.append(
                f"cannot export variable {key} as {form}: its value {error}\n"
                "  way out: leave it out with --without, or use another format"
            )
    if problems:
        raise Refused(*problems)
    return _render_whole(form, lines, values)


def _render_whole(form: str, lines: list[str], values: Mapping[str, str]) -> str:
    if form == "json":
        body = ",\n".join(lines)
        return f"{{\n{body}\n}}\n" if lines else "{}\n"
    if form != "heroku":
        return "".join(lines)
    size = sum(len(key) + len(value.encode()) for key, value in values.items())
    if size > _HEROKU_LARGEST:
        raise Refused(
            f"cannot export as heroku: names and values come to {size} bytes, and Heroku takes {_HEROKU_LARGEST}\n"
            "  way out: leave some out with --without"
        )
    return "heroku config:set" + "".join(lines) + "\n" if lines else ""


def _unicode(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _CannotHoldError("is not UTF-8") from None
    return value


def _env_line(key: str, value: str) -> str:
    """A line of a ``.env`` as python-dotenv reads it, and so do our layers; see ``dotenv_file.render_line``.

    Plain text stands as it is. Nothing is escaped there, so a backslash at the end of a value can only stand plain.
    """
    plain = f"{key}={value}\n"
    if _SIMPLE.fullmatch(value) or (value.endswith("\\") and _reads_back(plain, key, value)):
        return plain
    line = render_line(key, value)
    if line is None:
        raise _CannotHoldError("has no form in a .env: it ends in a backslash, or has 200 blanks in a row")
    return line


def _reads_back(line: str, key: str, value: str) -> bool:
    try:
        return parse_dotenv(line.encode()) == {key: value}
    except FlawedError:
        return False


def _json_line(key: str, value: str) -> str:
    """A member of one object of texts, as ``heroku config --json`` prints it (RFC 8259)."""
    return f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"


def _docker_line(key: str, value: str) -> str:
    """A line for ``docker run --env-file``: everything behind ``=`` as it stands, without quotes or escapes.

    Source: docker/cli, ``pkg/kvfile/kvfile.go``, which reads with Go's ``bufio.Scanner``: lines below 64 KiB, and a CR
    before the newline is lost. Some versions take quotes away that surround a value and others keep them, so that such
    a value means nothing certain.
    """
    if "\n" in value:
        raise _CannotHoldError("has several lines, and a line is all there is")
    if value.endswith("\r"):
        raise _CannotHoldError("ends in a carriage return, which would be lost")
    if len(value) > 1 and value[0] in "\"'" and value[0] == value[-1]:
        raise _CannotHoldError("is in quotes, which some versions take away")
    line = f"{key}={value}"
    if len(line.encode()) > _DOCKER_LONGEST:
        raise _CannotHoldError("makes a line of 64 KiB or more")
    return f"{line}\n"


def _systemd_line(key: str, value: str) -> str:
    r"""A line for systemd's ``EnvironmentFile=``: in double quotes, where newlines stand for themselves.

    A backslash takes the meaning from ``"``, ``\``, ``$`` and the backtick, nothing is expanded, and the text has to be
    UTF-8. Source: systemd, ``src/basic/env-file.c`` (``parse_env_file_internal``) and systemd.exec(5).
    """
    escaped = _SYSTEMD_ESCAPED.sub(lambda match: f"\\{match[0]}", value)
    return f'{key}="{escaped}"\n'


def _heroku_line(key: str, value: str) -> str:
    r"""An argument of ``heroku config:set`` as a POSIX shell reads it: in single quotes, ``'`` as ``'\''``.

    Heroku refuses names that begin with ``__`` and more than 64 KiB in all. Source: Dev Center, "Configuration and
    Config Vars", "Config var policies"; POSIX.1-2017, Shell Command Language, 2.2.2.
    """
    if key.startswith("__"):
        raise _CannotHoldError("cannot be set: Heroku refuses names that begin with __")
    return f" \\\n  {key}={quote(value)}"


_LINES: dict[str, Callable[[str, str], str]] = {
    "env": _env_line,
    "json": _json_line,
    "docker": _docker_line,
    "systemd": _systemd_line,
    "heroku": _heroku_line,
}
FORMATS = tuple(_LINES)
