"""A dotenv file of tags → tags; every line that is no tag is named, all at once.

python-dotenv reads it, without interpolation. It costs 27 ms to import, which is spent only when there is a file.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from bootstrap.errors import TagError
from bootstrap.spelling import quoted
from bootstrap.tag import Tag, contradictions, is_setting, key_of_variable

if TYPE_CHECKING:
    from dotenv.parser import Binding

_MOST_BYTES = 1 << 20


def read_tags_file(path: str) -> tuple[Tag, ...] | None:
    """The tags of a file, ``None`` if there is no such file; raises TagError."""
    content = _read_regular(path)
    if content is None:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise _refused(path, "it is not UTF-8 text") from None
    from io import StringIO  # noqa: PLC0415

    from dotenv.parser import parse_stream  # noqa: PLC0415

    tags: list[Tag] = []
    problems: list[str] = []
    for binding in parse_stream(StringIO(text)):
        _take(binding, f"{path}:{_line_of(binding)}", tags, problems)
    problems += contradictions(tags)
    if problems:
        raise TagError(*problems)
    return tuple(tags)


def _read_regular(path: str) -> bytes | None:
    """Opened without blocking: a FIFO in the file's place must not hold up a boot."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _refused(path, getattr(error, "strerror", None) or str(error)) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _refused(path, "it is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(_MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > _MOST_BYTES:
        raise _refused(path, "it is larger than 1 MiB")
    return content


def _take(binding: Binding, where: str, tags: list[Tag], problems: list[str]) -> None:
    if binding.error or (binding.key is not None and binding.value is None):
        line = binding.original.string.strip().splitlines()[0]
        problems.append(f"cannot read tags file line {where}: should be like BOOTSTRAP_MODE=review, not {quoted(line)}")
    elif binding.key is None or binding.value is None or is_setting(binding.key):
        return  # a comment, an empty line, or an option of the command
    elif key := key_of_variable(binding.key):
        tags.append(Tag(key=key, value=binding.value, source=where))
    else:
        problems.append(f"cannot read tags file line {where}: {quoted(binding.key)} should begin with BOOTSTRAP_")


def _line_of(binding: Binding) -> int:
    """The line that the text stands on; the parser counts from the empty lines before it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _refused(path: str, cause: str) -> TagError:
    return TagError(f'cannot read tags file "{path}": {cause}\n  way out: make it lines like BOOTSTRAP_MODE=review')
