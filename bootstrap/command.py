"""A definition's command line → the line that the launcher hands over to.

A forgotten ``exec`` leaves a shell between the supervisor and the program: the stop signal would end the shell and not
the program. So a simple command gets its ``exec``, and anything that stays a shell is signalled as a whole group.
"""

from __future__ import annotations

import re

# Words that are no program: `exec` in front of them would be wrong.
_NOT_A_PROGRAM = frozenset(
    [
        "exec",
        "eval",
        "export",
        "set",
        "unset",
        "cd",
        "umask",
        "ulimit",
        "trap",
        "wait",
        "read",
        "exit",
        "return",
        "shift",
        ".",
        ":",
        "!",
        "{",
        "[",
        "test",
        "source",
        "command",
        "builtin",
        "if",
        "for",
        "while",
        "until",
        "case",
        "function",
        "true",
        "false",
        "echo",
        "printf",
        "alias",
    ],
)
_COMPOUND = re.compile(r"[;&|<>()`\n#]|\$\(")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_PLAIN = re.compile(r"[A-Za-z0-9_./+@:,%][A-Za-z0-9_./+@:,%-]*")  # a word that sh takes as it stands
_ENDS_IN_EXEC = re.compile(r"(?:^|[;&|\n{]\s*)exec\s+[^;&|\n]*$")


def complete_command(command: str) -> str:
    """The command with the ``exec`` that a simple command line lacks."""
    line = command.strip()
    first = line.split(None, 1)[0]
    if _COMPOUND.search(line) or first in _NOT_A_PROGRAM or _ASSIGNMENT.match(first):
        return line
    return f"exec {line}"


def program_of(command: str) -> str | None:
    """The program that a simple command starts; ``None`` where only a shell can know."""
    first, *rest = complete_command(command).split()
    if first != "exec" or not rest or _COMPOUND.search(command.strip()) or not _PLAIN.fullmatch(rest[0]):
        return None
    return rest[0]


def leaves_a_shell(command: str) -> bool:
    """Whether a shell stays in front of the program: then its whole process group must hear the stop signal."""
    return not _ENDS_IN_EXEC.search(complete_command(command))
