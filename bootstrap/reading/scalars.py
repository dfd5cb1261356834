"""A scalar's text → its value: numbers, durations, sizes, names, signals, paths, commands.

Each constant or function here is a reader for ``schema.py``. Units are never optional, so that nobody has to guess
whether `timeout: 30` means seconds; sizes in `MB` count by 1000, in `MiB` by 1024.
"""

from __future__ import annotations

import posixpath
import re
import warnings

from bootstrap.identity import NAME, TARGET_GROUP
from bootstrap.reading.schema import Reader, scalar
from bootstrap.spelling import did_you_mean, harmless, listed, quoted

SIGNALS = frozenset(
    {"ABRT", "ALRM", "CONT", "HUP", "INT", "KILL", "PIPE", "QUIT", "TERM", "TTIN", "TTOU", "URG"}
    | {"USR1", "USR2", "WINCH"}
)
_LONGEST_S = 24 * 3600
_LARGEST = 2**60  # bytes
_INTEGER = re.compile(r"0|[1-9][0-9]{0,14}")
_DURATION = re.compile(r"(0|[1-9][0-9]{0,11})(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"([1-9][0-9]{0,14})(B|[KMGT]i?B)")
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_URL_PATH = re.compile(r"/[!-~]*")
_GIT = re.compile(
    r"(?:https?|ssh|git|file)://[!-~]+|[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[!-~]+|/[!-~]+"
)
_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[!-~]*)?")


def integer(first: int, last: int) -> Reader[int]:
    """An integer in these bounds."""

    def parse(text: str) -> int | None:
        return int(text) if _INTEGER.fullmatch(text) and first <= int(text) <= last else None

    return scalar(f"an integer from {first} to {last}", parse)


def duration(*, may_be_zero: bool) -> Reader[float]:
    """A length of time, in seconds."""

    def parse(text: str) -> float | None:
        match = _DURATION.fullmatch(text)
        if match is None:
            return None
        seconds = int(match[1]) * _SECONDS[match[2]]
        if seconds > _LONGEST_S:
            raise ValueError(f"should be 24h at most, not {quoted(text)}")
        if not seconds and not may_be_zero:
            raise ValueError(f"should be more than 0s, not {quoted(text)}")
        return seconds

    return scalar("a duration such as 30s, 500ms, 2m or 1h", parse)


def choice(*words: str) -> Reader[str]:
    """One of a few words."""
    expected = " or ".join(f'"{word}"' for word in words)
    return scalar(expected, lambda text: text if text in words else None)


def _parse_size(text: str) -> int | None:
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    size = int(match[1]) * _BYTES[match[2]]
    if not 2**20 <= size <= _LARGEST:
        raise ValueError(f"should be from 1MiB to 1048576TiB, not {quoted(text)}")
    return size


def _parse_boolean(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text)


def _parse_text(text: str) -> str:
    _refuse_nul(text)
    return text


def _parse_command(text: str) -> str:
    _refuse_nul(text)
    if not text.strip():
        raise ValueError("should be a line of sh, not nothing")
    return text


def _parse_variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise ValueError(f"{quoted(text)} is no name for a variable; use letters, digits and _, no digit first")
    return text


def _parse_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError(
            f"{quoted(text)} is no name; use lower-case letters, digits and hyphens, 63 at most, no hyphen first"
        )
    return text


def _parse_signal(text: str) -> str:
    name = text.removeprefix("SIG")
    if name not in SIGNALS:
        hint = did_you_mean(name, SIGNALS) or f"; signals are {listed(SIGNALS)}"
        raise ValueError(f"no signal is called {quoted(text)}{hint}")
    return name


def _parse_user(text: str) -> str | None:
    if _INTEGER.fullmatch(text):
        return text if int(text) < 2**32 - 1 else None  # the last one means "unchanged" to the kernel
    return text if _USER.fullmatch(text) else None


def _parse_url_path(text: str) -> str | None:
    return text if _URL_PATH.fullmatch(text) else None


def _parse_pattern(text: str) -> str:
    if not text:
        raise ValueError("should be a regular expression, not nothing")
    try:
        with warnings.catch_warnings(action="ignore"):
            re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression: {harmless(str(error))}") from error
    return text


def _parse_relative(text: str) -> str | None:
    """A path below some directory; whether it climbs out of it is for who knows the directory."""
    _refuse_nul(text)
    return posixpath.normpath(text) if text and not text.startswith("/") else None


def _parse_script(text: str) -> str | None:
    return None if _parse_relative(text) is None else text  # it is a line of sh: a leading ./ must stay


def _parse_search_path(text: str) -> str | None:
    _refuse_nul(text)
    return posixpath.normpath(text) if text and ":" not in text else None


def _parse_address(text: str) -> str | None:
    import ipaddress  # noqa: PLC0415 - few definitions name an address

    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _parse_git(text: str) -> str:
    if not _GIT.fullmatch(text):  # it may hold a password, so it is not told back
        raise ValueError("should be a git address such as https://host/path.git or git@host:path.git")
    return text


def _parse_s3(text: str) -> str | None:
    return text if _S3.fullmatch(text) else None


def _refuse_nul(text: str) -> None:
    if "\0" in text:
        raise ValueError("should hold no NUL character")


TEXT = scalar("text", _parse_text)
BOOLEAN = scalar("true or false", _parse_boolean)
TRUE = scalar("true", lambda text: True if text == "true" else None)
PORT = integer(1, 65535)
SIZE = scalar("a size such as 512MiB, 1GiB or 500MB", _parse_size)
NAME_TEXT = scalar("a name", _parse_name)
VARIABLE = scalar("the name of a variable", _parse_variable)
COMMAND = scalar("a line of sh", _parse_command)
SIGNAL = scalar("the name of a signal", _parse_signal)
USER = scalar("the name or number of a user", _parse_user)
URL_PATH = scalar("a path such as /healthz", _parse_url_path)
PATTERN = scalar("a regular expression", _parse_pattern)
DIRECTORY = scalar("a path relative to the service's folder", _parse_relative)
SCRIPT = scalar("a path relative to the working directory", _parse_script)
SEARCH_PATH = scalar("a directory without colons", _parse_search_path)
ADDRESS = scalar("an IP address", _parse_address)
GIT = scalar("a git address", _parse_git)
TARGET_GROUP_TEXT = scalar(
    "the name or ARN of a target group", lambda text: text if TARGET_GROUP.fullmatch(text) else None
)
S3 = scalar("an address such as s3://bucket/path/", _parse_s3)
