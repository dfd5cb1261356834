"""``config/secrets.local.env`` → the values of references, for a laptop without AWS.

    ssm:/todo/production/api/DATABASE_URL=postgresql://me@127.0.0.1/todo
    'secret:todo#session-key'=not-so-secret

It answers in ``development`` and ``review`` only, and lies over the stores there; git ignores it. A file that others
can read, or that is no plain file of ours, is refused: it holds secrets.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from bootstrap.config.dotenv_file import parse_secrets
from bootstrap.errors import DefinitionError
from bootstrap.reading.problem import FlawedError, render_problems
from bootstrap.world.secrets import Secret, pick_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bootstrap.box import Box
    from bootstrap.variable import Reference

FILE = "config/secrets.local.env"
MODES = ("development", "review")
VERSION = "local"


def read_local_secrets(box: Box, mode: str, wanted: Iterable[Reference]) -> dict[Reference, Secret]:
    """The references that the file answers; raises DefinitionError for a file that cannot be trusted or read."""
    content = _read_ours(f"{box.root}/{FILE}") if mode in MODES else None
    if content is None:
        return {}
    try:
        values = parse_secrets(content)
    except FlawedError as flaw:
        raise DefinitionError(*render_problems(FILE, flaw.problems)) from None
    answers = {reference: _answer(reference, values) for reference in wanted}
    return {
        reference: Secret(value=value, version=VERSION) for reference, value in answers.items() if value is not None
    }


def _answer(reference: Reference, values: dict[str, str]) -> str | None:
    """The reference as it stands, or the JSON of the secret that it picks a key of."""
    name = f"{reference.kind}:{reference.text}"
    whole = values.get(name.partition("#")[0]) if reference.kind == "secret" else None
    if name in values or whole is None:
        return values.get(name)
    try:
        return pick_value(whole, reference)
    except ValueError as unfit:
        cause, _, way_out = str(unfit).partition("\n")
        raise DefinitionError(f'cannot resolve reference "{name}": {cause}\n  where: {FILE}\n{way_out}') from None


def _read_ours(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused("it is a link" if os.path.islink(path) else str(error.strerror)) from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _refused("it is no regular file")
        if status.st_uid not in {0, os.geteuid()}:
            raise _refused(f"it belongs to user {status.st_uid}")
        if status.st_mode & 0o077:
            raise _refused(f"others can use it (its mode is {stat.S_IMODE(status.st_mode):04o})")
        return file.read()


def _refused(cause: str) -> DefinitionError:
    return DefinitionError(
        f'cannot read "{FILE}": {cause}\n'
        f"  way out: make it a file of your own that nobody else can read (chmod 600 {FILE})"
    )
