"""The words of a command line → options, with the order and the mistakes of runit's own getopt."""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, which takes 7 ms to import
if TYPE_CHECKING:
    from collections.abc import Iterator


class WrongOptionError(Exception):
    """An option that does not exist, or lacks its argument; ``text`` is what runit says."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


class OptionWords:
    """A whole command line; ``rest`` is what follows the options, once they have all been read."""

    def __init__(self, words: list[bytes]) -> None:
        self._words = words
        self.rest: list[bytes] = []

    def read(self, flags: bytes, settings: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Letters, those of ``settings`` with their argument; raises WrongOptionError when it comes to one.

        A word that begins with two hyphens ends the options, whatever else it says.
        """
        words = iter(self._words[1:])
        self.rest = self._words[1:]
        for word in words:
            if len(word) < 2 or not word.startswith(b"-"):
                return
            self.rest = self.rest[1:]
            if word.startswith(b"--"):
                return
            for at in range(1, len(word)):
                letter = word[at : at + 1]
                if letter in flags:
                    yield letter, b""
                    continue
                if letter not in settings:
                    raise WrongOptionError(self._complain(b"illegal option", letter))
                yield letter, word[at + 1 :] or self._next(words, letter)
                break

    def _next(self, words: Iterator[bytes], letter: bytes) -> bytes:
        for word in words:
            self.rest = self.rest[1:]
            return word
        raise WrongOptionError(self._complain(b"option requires an argument", letter))

    def _complain(self, mistake: bytes, letter: bytes) -> bytes:
        return b"%s: %s -- %s\n" % (self._words[0].rpartition(b"/")[2], mistake, letter)
