"""The words of a command line → what chpst is asked to change; or what runit says to a wrong one.

Everything is bytes, and passes unread. Numbers are C's and wrap at 64 bits.

``Change`` is a class with slots because this is read at every start of a program, and importing dataclasses takes
longer than the whole interpreter (11 ms, where ``python3 -S -E -c pass`` takes 9).
"""

from __future__ import annotations

from runit_compat.option_words import OptionWords, WrongOptionError

_VERSION = b"$Id: f279d44141c981dd7535a12260efcf1ef7beed26 $\n"  # what 2.1.2 says to -V
_USAGE_CHPST = (
    b" [-vVP012] [-u user[:group]] [-U user[:group]] [-b argv0] [-e dir] [-/ root] [-n nice] [-l|-L lock]"
    b" [-m n] [-d n] [-o n] [-p n] [-f n] [-c n] [-t n] prog"
)
_USAGE = {
    b"setuidgid": b" account child",
    b"envuidgid": b" account child",
    b"envdir": b" dir child",
    b"pgrphack": b" child",
    b"setlock": b" [ -nNxX ] file program [ arg ... ]",
    b"softlimit": b" [-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] [-l lockbytes] [-m membytes]"
    b" [-o openfiles] [-p processes] [-r residentbytes] [-s stackbytes] [-t cpusecs] child",
}
_TEXTS = {
    b"u": "user",
    b"U": "environment_user",
    b"b": "first_word",
    b"e": "environment_directory",
    b"/": "root",
    b"C": "directory",
}
_LIMITS = {
    b"m": ("DATA", "STACK", "MEMLOCK", "AS"),
    b"d": ("DATA",),
    b"o": ("NOFILE",),
    b"p": ("NPROC",),
    b"f": ("FSIZE",),
    b"c": ("CORE",),
    b"r": ("RSS",),
    b"t": ("CPU",),
}
_LIMITS_SOFTLIMIT = _LIMITS | {b"a": ("AS",), b"l": ("MEMLOCK",), b"s": ("STACK",)}
_AS_MUCH_AS_IS_ALLOWED = -1
_UNSIGNED_LONG = 2**64
_INT = 2**32
_NO_ID = 2**32 - 1
MOST_GROUPS = 60
_DIGITS = b"0123456789"


class UsageError(Exception):
    """A wrong command line; ``text`` is all that is to be said, and the exit code is 100."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


class Change:
    """What to change, and what to run then. ``None`` leaves as it is."""

    __slots__ = (
        "closed",
        "directory",
        "environment_directory",
        "environment_user",
        "first_word",
        "is_alone",
        "is_silent",
        "is_verbose",
        "limits",
        "lock",
        "new_session",
        "nice",
        "root",
        "skips_directories",
        "user",
        "waits",
        "words",
    )

    def __init__(self) -> None:
        self.new_session = False
        self.environment_directory: bytes | None = None
        self.skips_directories = True  # in the environment directory, instead of failing
        self.root: bytes | None = None
        self.directory: bytes | None = None
        self.nice = 0
        self.environment_user: bytes | None = None
        self.user: bytes | None = None
        self.is_alone = False  # the user is a name, and neither groups follow it nor may it be numbers
        self.lock: bytes | None = None
        self.waits = False  # for the lock
        self.is_silent = False  # where lock or program fail: exit with 0, without a word
        self.closed: set[int] = set()
        self.limits: dict[str, int] = {}  # what follows RLIMIT_ → soft limit; -1: as much as is allowed
        self.is_verbose = False
        self.first_word: bytes | None = None  # the program's 0th argument, where it is not its name
        self.words: list[bytes] = []


def parse_command_line(words: list[bytes]) -> Change:
    """All words, the name that chpst was called by among them; raises UsageError."""
    name = words[0].rpartition(b"/")[2].removeprefix(b"d")
    usage = _describe_usage(name, _USAGE.get(name, _USAGE_CHPST))
    try:
        match name:
            case b"softlimit":
                return _parse_softlimit(OptionWords(words), usage)
            case b"setlock":
                return _parse_setlock(OptionWords(words), usage)
            case b"setuidgid" | b"envuidgid" | b"envdir" | b"pgrphack":
                return _parse_plain(name, words[1:], usage)
            case _:
                return _parse_chpst(OptionWords(words), usage)
    except WrongOptionError as error:
        raise UsageError(error.text + usage) from None


def parse_ids(text: bytes) -> tuple[int, list[int]] | None:
    """``uid:gid:gid…`` → them; ``None`` for anything else.

    runit takes an empty number for 0 and cuts large ones to 32 bits. That would be root by accident, so it is refused.
    """
    numbers = text.split(b":")
    if not 1 < len(numbers) <= 1 + MOST_GROUPS or not all(map(_is_id, numbers)):
        return None
    uid, *gids = map(int, numbers)
    return uid, gids


def _is_id(text: bytes) -> bool:
    return text.isdigit() and len(text) < 20 and int(text) < _NO_ID


def _describe_usage(name: bytes, synopsis: bytes) -> bytes:
    return b"usage: %s%s\n" % (name, synopsis)


def _parse_chpst(options: OptionWords, usage: bytes) -> Change:
    change = Change()
    for letter, argument in options.read(b"vVP012", b"nlL" + b"".join(_TEXTS) + b"".join(_LIMITS)):
        if letter in _TEXTS:
            setattr(change, _TEXTS[letter], argument)
        elif letter in _LIMITS:
            _set_limits(change, _LIMITS[letter], _parse_number(argument, usage))
        elif letter == b"n":
            change.nice = _parse_increment(argument, usage)
        elif letter in b"lL":
            if change.lock is not None:
                raise UsageError(usage)
            change.lock, change.waits = argument, letter == b"l"
        elif letter == b"V":
            raise UsageError(_VERSION + usage)
        else:
            _set_flag(change, letter)
    change.words = _require(1, options.rest, usage)
    return change


def _set_flag(change: Change, letter: bytes) -> None:
    if letter == b"v":
        change.is_verbose = True
    elif letter == b"P":
        change.new_session = True
    else:
        change.closed.add(int(letter))


def _parse_softlimit(options: OptionWords, usage: bytes) -> Change:
    change = Change()
    usage_of_chpst = _describe_usage(b"softlimit", _USAGE_CHPST)  # it is what the binary says to a wrong number
    for letter, argument in options.read(b"", b"".join(_LIMITS_SOFTLIMIT)):
        limit = _AS_MUCH_AS_IS_ALLOWED if argument == b"=" else _parse_number(argument, usage_of_chpst)
        _set_limits(change, _LIMITS_SOFTLIMIT[letter], limit)
    change.words = _require(1, options.rest, usage)
    return change


def _parse_setlock(options: OptionWords, usage: bytes) -> Change:
    """With ``-n`` it waits and without it does not: the other way round than daemontools' setlock."""
    change = Change()
    for letter, _ in options.read(b"nNxX", b""):
        if letter in b"nN":
            change.waits = letter == b"n"
        else:
            change.is_silent = letter == b"x"
    change.lock, *change.words = _require(2, options.rest, usage)
    return change


def _parse_plain(name: bytes, words: list[bytes], usage: bytes) -> Change:
    """A name that takes no options."""
    change = Change()
    if name == b"pgrphack":
        change.new_session = True
        change.words = _require(1, words, usage)
        return change
    first, *change.words = _require(2, words, usage)
    if name == b"envdir":
        change.environment_directory = first
        change.skips_directories = False
        return change
    change.is_alone = True
    if name == b"setuidgid":
        change.user = first
    else:
        change.environment_user = first
    return change


def _require(least: int, words: list[bytes], usage: bytes) -> list[bytes]:
    if len(words) < least:
        raise UsageError(usage)
    return words


def _set_limits(change: Change, names: tuple[str, ...], number: int) -> None:
    """A number that is less than -1 in a long is what the binary has for "not given"."""
    limit = _as_signed(number, _UNSIGNED_LONG)
    for name in names:
        change.limits.pop(name, None)
        if limit >= _AS_MUCH_AS_IS_ALLOWED:
            change.limits[name] = limit


def _parse_increment(text: bytes, usage: bytes) -> int:
    """The nice value is an int where the number was a long."""
    if text.startswith(b"-"):
        return _as_signed(-_parse_number(text[1:], usage), _INT)
    return _as_signed(_parse_number(text.removeprefix(b"+"), usage), _INT)


def _parse_number(text: bytes, usage: bytes) -> int:
    """As C reads it: no digit at all is 0."""
    number = 0
    for digit in text:
        if digit not in _DIGITS:
            raise UsageError(usage)
        number = (number * 10 + digit - _DIGITS[0]) % _UNSIGNED_LONG
    return number


def _as_signed(number: int, size: int) -> int:
    return (number + size // 2) % size - size // 2
