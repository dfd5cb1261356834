"""Six error types, named after who can fix them.

Wording: ``cannot <verb> <noun> "<name>": <cause>``, then where, then one way out. A message never holds a secret value.
The command line turns each type into its exit code; anything that is not one of these is a bug (exit 70).
"""

from __future__ import annotations

from typing import ClassVar


class BootstrapError(Exception):
    """An expected failure: its text is all that the user needs to read."""

    exit_code: ClassVar[int] = 70


class Refused(BootstrapError):
    """The input is wrong; holds every problem found, so that one edit can mend them all."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class TagError(Refused):
    """Tags are missing, unknown or contradictory."""


class DefinitionError(Refused):
    """A service, config or mode file is wrong."""


class MissingVariable(Refused):
    """A required key is unset; the text lists the layers that were searched."""


class Unavailable(BootstrapError):
    """AWS, the supervisor or a secret store is out of reach in time: try again."""

    exit_code = 75


class NothingYet(Unavailable):
    """Nothing has been released yet that this box could run: it waits, and that is well."""


class Locked(BootstrapError):
    """Another run holds the lock; the text says who, since when, doing what."""

    exit_code = 75


class ApplyFailed(BootstrapError):
    """Some actions failed; the text holds every result, the rest was carried out."""

    exit_code = 1
