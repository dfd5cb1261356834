"""Names in definitions → users of this machine."""

from __future__ import annotations

import os
import pwd

from bootstrap.environ import Account
from bootstrap.errors import DefinitionError
from bootstrap.launcher import Credentials
from bootstrap.plan import Plan, Program


def read_accounts(plan: Plan) -> dict[str, tuple[Account, Credentials | None]]:
    """Whom each program runs as, by program name; raises DefinitionError for users that do not exist.

    Only root can give programs to other users; anybody else runs everything as himself.
    """
    myself = _account(str(os.geteuid()))
    if os.geteuid() != 0:
        return {program.name: (myself, None) for program in plan.programs}
    found, problems = {}, []
    for program in plan.programs:
        account = _account(program.process.user) if program.process.user else myself
        if account is None:
            problems.append(_unknown(program))
            continue
        found[program.name] = (account, _credentials(account))
    if problems:
        raise DefinitionError(*problems)
    return found


def is_ignoring_users(plan: Plan) -> bool:
    """Whether some definition names a user that this run cannot become."""
    me = os.geteuid()
    return me != 0 and any(program.process.user not in {None, str(me), _name(me)} for program in plan.programs)


def _account(user: str) -> Account | None:
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        if not user.isdigit():
            return None
        return Account(name=user, uid=int(user), gid=int(user), home="/")
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid, home=entry.pw_dir)


def _credentials(account: Account) -> Credentials | None:
    if account.uid == os.geteuid():
        return None
    return Credentials(uid=account.uid, gid=account.gid, user=None if account.name.isdigit() else account.name)


def _name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _unknown(program: Program) -> str:
    user = program.process.user
    return (
        f'cannot run "{program.name}" as "{user}": no such user on this machine\n'
        f"  where: {program.service.file}: processes/{program.process.name}/user\n"
        f"  way out: useradd --system {user}, or name another user"
    )
