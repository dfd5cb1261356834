"""What cannot be done, in runit's words."""

from __future__ import annotations

import os

from runit_compat.error_words import describe_errno

TYPE_CHECKING = False  # as typing has it, which takes 7 ms to import
if TYPE_CHECKING:
    from types import TracebackType


class Trouble(Exception):
    """``text`` is what runit says after its own name; chpst's exit code is then 111."""

    def __init__(self, *parts: bytes) -> None:
        self.text = b": ".join(parts)
        super().__init__(self.text)


class telling:  # noqa: N801 - reads as a verb after "with"; contextlib would take 2 ms to import
    """An OSError inside becomes Trouble: these words, then the cause."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, OSError):
            raise Trouble(*self._parts, describe_errno(error.errno)) from None


def write_words(text: bytes) -> None:
    """One line to standard error, if there is one."""
    try:
        os.write(2, text + b"\n")
    except OSError:
        return
