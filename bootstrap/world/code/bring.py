"""Plan → the same plan with the code of services that have a source, fetched where that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.checkout import place_code, wanted_code

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.box import Box
    from bootstrap.plan import Plan
    from bootstrap.request import Request, Say
    from bootstrap.variable import Account
    from bootstrap.world.code.checkouts import Checkouts


def bring_code(
    box: Box,
    plan: Plan,
    accounts: Mapping[str, Account],
    request: Request,
    say: Say,
    checkouts: Checkouts | None,
) -> Plan:
    """``checkouts`` may have asked already. A dry run resolves refs and checks nothing out."""
    wants = wanted_code(plan)
    if not wants:
        return plan
    from bootstrap.world.code.checkouts import open_checkouts, owners_of, read_kept  # noqa: PLC0415 - only with sources

    if request.code == "kept":
        return place_code(plan, read_kept(box, wants), box.code)
    checkouts = checkouts or open_checkouts(box, request, say)
    codes = checkouts.resolve(wants)
    if not request.dry:
        checkouts.write(codes, owners_of(plan, accounts))
    return place_code(plan, codes, box.code)
