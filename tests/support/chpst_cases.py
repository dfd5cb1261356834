"""Chance → a command line of chpst, and the directory and process that it meets."""

from __future__ import annotations

from dataclasses import dataclass

NAMES = [b"chpst"] * 20 + [b"envdir", b"envuidgid", b"pgrphack", b"setlock", b"setuidgid", b"softlimit"] * 2
ODD_NAMES = [b"dchpst", b"dsetuidgid", b"/x/y/envdir", b"xyz", b"d", b"./softlimit"]
ACCOUNTS = [b"root", b"daemon", b"nobody"]
USERS = [b"daemon", b"nobody", b"root:daemon", b"daemon:bin:sys:tty", b":1:1", b":12345:54321", b":65534:1:2:3:3"]
ODD_USERS = [
    b"nosuch", b"daemon:nosuch", b"1", b"", b"daemon:", b"daemon:bin:", b":0:0", b":5", b":1:x", b":1:1x", b":x:1", b":-1:1",
    b":1:" + b":".join(b"%d" % gid for gid in range(100, 160)), b":1:" + b":".join(b"%d" % gid for gid in range(100, 161)),
    b"root:" + b":".join([b"bin"] * 59 + [b"sys", b"nosuch"]), b"daemon\xff", b"k=v",
]  # fmt: skip
LOCKS = [b"new.lock", b"link.lock"]
ODD_LOCKS = [b"held.lock", b"some", b"nosuch/lock", b"fifo", b"bin/text", b""]
ROOTS = [b"root", b"root/place", b".", b"/"]
ODD_ROOTS = [b"nosuch", b"bin/text", b"", b"closed"]
INCREMENTS = [b"1", b"5", b"+3", b"-2", b"19", b"100", b"-100", b"0", b"", b"-", b"+", b"4294967297", b"4294967295",
              b"-4294967295", b"18446744073709551615", b"99999999999999999999999"]  # fmt: skip
ODD_INCREMENTS = [b"--1", b"+-1", b"1x", b"x", b" 1"]
DIRECTORIES = [b"env", b"./env/"]
ODD_DIRECTORIES = [b"other", b"nosuch", b"bin/text", b"", b"."]
WRONG_NUMBERS = [b"x", b"1k", b"-1", b" 5", b"5 ", b"1\xff"]
WIDE = [
    b"",
    b"18446744073709551615",
    b"18446744073709551614",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551616",
]
LIMITS = {
    b"m": [b"0", b"1000", b"100000", b"1000000000", b"1000000000000"],
    b"d": [b"0", b"1000000000", b"20000000000"],
    b"o": [b"0", b"1", b"9", b"64", b"1000", b"100000000"],
    b"p": [b"0", b"1", b"100", b"1000000000"],
    b"f": [b"0", b"1", b"4096", b"1000000"],
    b"c": [b"0", b"1", b"1000000"],
    b"r": [b"0", b"1000000"],
    b"t": [b"2", b"100"],  # 0 ends either of them at the next tick
}
LIMITS_SOFTLIMIT = LIMITS | {b"a": LIMITS[b"m"], b"l": LIMITS[b"d"], b"s": [b"100000", b"8000000", b"1000000000000"]}
PIECES = [*(bytes([byte]) for byte in range(256)), *[b"\n", b"\0", b" ", b"\t"] * 30, b"value", "ü€".encode()]
KEYS = [
    b"A",
    b"B",
    b"C",
    b"D",
    b"PATH",
    b"HOME",
    b"LANG",
    b"LC_CTYPE",
    b"UID",
    b"we ird",
    b"dot.ted",
    b"k=v",
    b"k",
    b"\xff",
]
PATHS = [b"/usr/bin:/bin", b":/usr/bin", b"/nosuch:/usr/bin", b"bin:/usr/bin", b"closed:/usr/bin"]
ODD_PATHS = [b"", b"bin/text:/usr/bin", b"/nosuch", b"bin:"]
MISSING = [b"nosuch", b"./nosuch", b"bin", b"text", b"bin/text", b"plain", b"", b"/", b"bin/text/x", b"closed/x"]
CHILD = b"<child>"  # stands for the words that tell what they find


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How chpst is started, and where."""

    words: list[bytes]
    environment: dict[bytes, bytes]
    files: dict[bytes, dict[bytes, bytes | None]]  # directory → name → content; None is a directory
    modes: dict[bytes, int]
    uid: int
    closed: list[int]
    limits: dict[str, int]  # hard ones that it finds
    nice: int
    leads_group: bool


def draw_case(dice, *, is_root: bool = False) -> Case:
    name = dice.choice(ODD_NAMES) if dice.random() < 0.05 else dice.choice(NAMES)
    plain = name.rpartition(b"/")[2].removeprefix(b"d")
    draw_options = _PLAIN.get(plain, _draw_chpst)
    words = draw_options(dice)
    words += [CHILD] if dice.random() < 0.92 else [dice.choice(MISSING), b"argument"]
    if dice.random() < 0.04:
        del words[dice.randrange(len(words)) :]
    if dice.random() < 0.03:
        words.insert(
            dice.randrange(len(words) + 1), dice.choice([b"-", b"--", b"-x", b"-?", b"-:", b"--help", b"-\xff", b""])
        )
    needed = [directory for directory in (b"env", b"other") if any(directory in word for word in words)]
    files = {directory: _draw_files(dice) for directory in needed}
    return Case(
        words=[name, *words],
        environment=_draw_environment(dice),
        files=files,
        modes={b"env": 0o755, b"other": dice.choice([0o755, 0o755, 0o311, 0o444, 0])},
        uid=0 if is_root else dice.choice([0, 0, 0, 0, 0, 1]),
        closed=dice.sample([0, 1, 2], dice.randrange(1, 3)) if dice.random() < 0.05 else [],
        limits=dice.choice([{}, {}, {"NOFILE": 256, "FSIZE": 100_000, "CPU": 50, "CORE": 0}, {"AS": 4_000_000_000}]),
        nice=dice.choice([0, 0, 0, 4]),
        leads_group=dice.random() < 0.1,
    )


def _draw_files(dice) -> dict[bytes, bytes | None]:
    keys = dice.sample(KEYS, dice.randrange(6))
    files: dict[bytes, bytes | None] = {key: b"" if dice.random() < 0.2 else _draw_content(dice) for key in keys}
    if dice.random() < 0.2:
        files[b".hidden"] = b"x"
    if dice.random() < 0.05:
        files[b"folder"] = None
    return files


def _draw_content(dice) -> bytes:
    kind = dice.random()
    if kind < 0.02:
        return dice.randbytes(dice.randrange(1, 200_000))
    if kind < 0.4:
        return bytes(dice.choice(b"ab \t\n\0") for _ in range(dice.randrange(1, 9)))
    return b"".join(dice.choices(PIECES, k=dice.randrange(1, 30)))


def _draw_environment(dice) -> dict[bytes, bytes]:
    keys = dice.sample(KEYS, dice.randrange(5))
    environment = {key: b"before" for key in keys if b"=" not in key}
    environment.pop(b"PATH", None)
    if dice.random() < 0.8:
        environment[b"PATH"] = _choose(dice, PATHS, ODD_PATHS)
    if dice.random() < 0.1:
        environment[b"LC_CTYPE"] = dice.choice([b"C", b"POSIX", b"C.UTF-8", b"nosuch"])
    if dice.random() < 0.02:
        environment[b"LONG"] = b"y" * dice.choice([100_000, 131_060])
    return environment


def _draw_chpst(dice) -> list[bytes]:
    words: list[bytes] = []
    for _ in range(dice.choice([0, 1, 1, 2, 2, 3, 4, 6])):
        letter = bytes([dice.choice(b"uUbe/nlLvP012V" + b"mdopfcrt")])
        if letter in b"V" and dice.random() < 0.8:
            letter = b"P"
        words += _render_option(dice, letter, _draw_argument(dice, letter, LIMITS))
    return words + [b"--"] * (dice.random() < 0.1)


def _draw_argument(dice, letter: bytes, limits) -> bytes | None:
    if letter in limits:
        return _draw_limit(dice, limits[letter])
    if letter not in _ARGUMENTS:
        return None
    argument = _choose(dice, *_ARGUMENTS[letter])
    return b"new.lock" if (letter, argument) == (b"l", b"held.lock") else argument  # nobody would let go of it


def _choose(dice, likely, odd):
    return dice.choice(odd if dice.random() < 0.1 else likely)


def _draw_limit(dice, numbers: list[bytes]) -> bytes:
    kind = dice.random()
    if kind < 0.03:
        return dice.choice(WRONG_NUMBERS)
    return dice.choice(WIDE) if kind < 0.1 and numbers is not LIMITS[b"t"] else dice.choice(numbers)


def _render_option(dice, letter: bytes, argument: bytes | None) -> list[bytes]:
    flags = b"".join(dice.sample([b"v", b"P", b"0", b"1", b"2"], dice.randrange(3))) if dice.random() < 0.1 else b""
    option = b"-" + flags + letter
    if argument is None:
        return [option]
    return [option + argument] if dice.random() < 0.3 and argument else [option, argument]


def _draw_softlimit(dice) -> list[bytes]:
    words: list[bytes] = []
    for letter in dice.sample(sorted(LIMITS_SOFTLIMIT), dice.randrange(4)):
        limit = b"=" if dice.random() < 0.2 else _draw_limit(dice, LIMITS_SOFTLIMIT[letter])
        words += [b"-" + letter + limit] if dice.random() < 0.5 and limit else [b"-" + letter, limit]
    return words


def _draw_setlock(dice) -> list[bytes]:
    options = dice.choice([[], [b"-n"], [b"-N"], [b"-x"], [b"-nx"], [b"-xX", b"-N"], [b"-q"]])
    lock = _choose(dice, LOCKS, ODD_LOCKS)
    waits = options in ([b"-n"], [b"-nx"])
    return [*options, b"new.lock" if waits and lock == b"held.lock" else lock]


_ARGUMENTS = {
    b"u": (USERS, ODD_USERS),
    b"U": (USERS, ODD_USERS),
    b"b": ([b"other", b"-sh", b"a b"], [b"\xff"]),
    b"/": (ROOTS, ODD_ROOTS),
    b"n": (INCREMENTS, ODD_INCREMENTS),
    b"l": (LOCKS, ODD_LOCKS),
    b"L": (LOCKS, ODD_LOCKS),
    b"e": (DIRECTORIES, ODD_DIRECTORIES),
}
_PLAIN = {
    b"envdir": lambda dice: [_choose(dice, DIRECTORIES, ODD_DIRECTORIES)],
    b"envuidgid": lambda dice: [_choose(dice, ACCOUNTS, USERS + ODD_USERS)],
    b"setuidgid": lambda dice: [_choose(dice, ACCOUNTS, USERS + ODD_USERS)],
    b"pgrphack": lambda dice: [],
    b"setlock": _draw_setlock,
    b"softlimit": _draw_softlimit,
}
