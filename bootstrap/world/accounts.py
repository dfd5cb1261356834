"""Names in definitions → users of this machine."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from bootstrap.errors import DefinitionError
from bootstrap.variable import Account

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.plan import Plan, Program


def read_accounts(plan: Plan, say: Callable[[str, str], None]) -> dict[str, Account]:
    """Whom each program runs as, by program name; raises DefinitionError for users that do not exist.

    Only root can give programs to other users; anybody else runs everything himself, and is told so.
    """
    myself = _account(str(os.geteuid()))
    if os.geteuid() != 0:
        others = {program.process.user for program in plan.programs} - {None, myself.name, str(myself.uid)}
        if others:
            say("", f"running everything as {myself.name}: only root can become {', '.join(sorted(map(str, others)))}")
        return {program.name: myself for program in plan.programs}
    found, problems = {}, []
    for program in plan.programs:
        try:
            found[program.name] = _account(program.process.user) if program.process.user else myself
        except KeyError:
            problems.append(_unknown(program))
    if problems:
        raise DefinitionError(*problems)
    return found


def _account(user: str) -> Account:
    """A name or a number; raises KeyError for a name that does not exist. A number need not have an entry."""
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        if not user.isdigit():
            raise
        return Account(name=user, uid=int(user), gid=int(user), home="/")
    return Account(
        name=entry.pw_name,
        uid=entry.pw_uid,
        gid=entry.pw_gid,
        home=entry.pw_dir,
    )


def _unknown(program: Program) -> str:
    user = program.process.user
    return (
        f'cannot run "{program.name}" as "{user}": no such user on this machine\n'
        f"  where: {program.service.file}: processes/{program.process.name}/user\n"
        f"  way out: useradd --system {user}, or name another user"
    )
