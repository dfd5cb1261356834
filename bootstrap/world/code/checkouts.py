"""Sources → the code of this box: asked for once per address, fetched where it is new, put beside what runs.

A source that is out of reach changes nothing: the service keeps the code that it has for the same ref; without that, it
gets what the mirror knows of the repository; without that either, nothing is done and the error says why. A ref that
neither knows is never taken for one that does not exist.
"""

from __future__ import annotations

import math
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bootstrap.checkout import (
    Finding,
    Listing,
    Want,
    choose_code,
    code_of,
    describe_code,
    folder_of,
    may_be_commit,
    parse_code,
    place_code,
    want_of,
    wanted_code,
)
from bootstrap.errors import DefinitionError, NothingYet, Unavailable
from bootstrap.spelling import harmless, quoted
from bootstrap.world import clock, store
from bootstrap.world.code import apart, git_access, tree
from bootstrap.world.code.git_mirror import EmptyError, Mirror, OutOfReachError, tidy_mirrors
from bootstrap.world.code.tree import Owner
from bootstrap.world.facts import read_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bootstrap.box import Box
    from bootstrap.definition import Code
    from bootstrap.plan import Plan
    from bootstrap.rendering import Generation
    from bootstrap.request import Request, Say
    from bootstrap.variable import Account

TIMEOUT_S = 60.0
_AT_ONCE = 8
_WAY_OUT = (
    "way out: see that this machine reaches it and may read it; BOOTSTRAP_SOURCE_TIMEOUT gives it longer; what ran "
    "before still runs"
)
_SECONDS = re.compile(r"\d{1,6}(\.\d+)?")
_Groups = dict[tuple[str, str], list[Want]]


class Checkouts:
    """What one run learns about sources; nothing is asked or said twice. Without ``keep`` nothing is written."""

    def __init__(self, box: Box, say: Callable[[str], None], *, keep: bool) -> None:
        self._box = box
        self._say = say
        self._keep = keep
        self._timeout_s = _read_timeout()
        self._deadline: float | None = None
        self._chosen: dict[tuple[Want, ...], tuple[Code, ...]] = {}
        self._running = {code.service: code for code in read_running(box)}

    def is_current(self, generation: Generation) -> bool:
        """Whether its sources still come to the code that it names, and that code is there."""
        codes = tuple(parse_code(raw) for raw in generation.sources)
        if not all(os.path.isdir(folder_of(code, self._box.code)) for code in codes):
            return False
        return self.resolve(tuple(want_of(code) for code in codes)) == codes

    def resolve(self, wants: tuple[Want, ...]) -> tuple[Code, ...]:
        """The code of each service; a repository's delta is fetched where it has what is wanted.

        Raises TagError for refs that are nowhere, Unavailable for sources out of reach of which nothing is known.
        """
        if wants not in self._chosen:
            self._deadline = clock.now() + self._timeout_s
            if self._keep:
                apart.end_strays(self._box)
                git_access.remove_leftovers()
                tree.open_mirrors(self._box)
            findings: dict[str, Finding] = {}
            groups: _Groups = {}
            for want in wants:
                groups.setdefault((want.source.kind, want.source.url), []).append(want)
            for found in _map_at_once(self._look, list(groups.values())):
                findings |= found
            codes, notices = choose_code(wants, findings)
            for notice in notices:
                self._say(notice)
            self._chosen[wants] = codes
        return self._chosen[wants]

    def write(self, codes: Iterable[Code], owners: Mapping[str, Owner]) -> None:
        """Put what is missing in its place; ``owners`` are by service. Raises DefinitionError, Unavailable."""
        for code in codes:
            owner = owners[code.service]
            if not tree.is_there(self._box, code, owner):
                self._say(f"{code.service}: checking out {describe_code(code)}")
                with tree.made(self._box, code, owner) as directory:
                    self._write(code, directory)
            tree.touch(self._box, code)

    def _write(self, code: Code, directory: str) -> None:
        want = want_of(code)
        if code.kind == "git":
            mirror = self._mirror(want)
            if mirror.find_commit(code.version) is None:
                self._fetch_late(mirror, want)
            for path in mirror.write_tree(code.version, directory):
                self._say(f"{code.service}: {quoted(path)} is a submodule and stays empty")
            return
        from bootstrap.world.code.tarballs import write_version  # noqa: PLC0415 - brings boto3

        try:
            write_version(self._box, code, directory, self._until())
        except OutOfReachError as error:
            raise self._out_of_reach(want, error) from error

    def _fetch_late(self, mirror: Mirror, want: Want) -> None:
        """What runs is wanted again, but its files are gone and the mirror has been thrown away."""
        try:
            mirror.fetch(None, self._until())
        except OutOfReachError as error:
            raise self._out_of_reach(want, error) from error

    def _look(self, wants: Sequence[Want]) -> dict[str, Finding]:
        """Ask one address for all that want something of it."""
        try:
            if wants[0].source.kind == "s3":
                from bootstrap.world.code.tarballs import find_version  # noqa: PLC0415 - brings boto3

                return {want.service: find_version(want, self._until()) for want in wants}
            mirror = self._mirror(wants[0])
            if self._keep:
                mirror.prepare()
            listing = mirror.list_remote(self._until())
            return {want.service: self._find(mirror, listing, want) for want in wants}
        except OutOfReachError as error:
            return {want.service: self._recall(want, error) for want in wants}

    def _find(self, mirror: Mirror, listing: Listing, want: Want) -> Finding:
        found = self._find_ref(mirror, listing, want)
        name = want.ref or ""
        is_missing = want.ref is not None and found is None
        if found is None:
            name, found = _default_of(listing)
        code = code_of(want, name, found)
        self._bring(mirror, listing, code)
        return Finding(code=code, is_missing=is_missing, refs=(*listing.branches, *listing.tags))

    def _find_ref(self, mirror: Mirror, listing: Listing, want: Want) -> str | None:
        if want.ref is None:
            return None
        found = listing.find(want.ref)
        if found is not None or not may_be_commit(want.ref):
            return found
        found = mirror.find_commit(want.ref)
        if found is None and self._keep and mirror.list_known() != listing:
            mirror.fetch(listing.default, self._until())
            found = mirror.find_commit(want.ref)
        if found is None and not self._keep:
            self._say(f"{want.service}: whether {quoted(want.ref)} is a commit there, only up finds out")
            return want.ref.ljust(40, "0")
        return found

    def _bring(self, mirror: Mirror, listing: Listing, code: Code) -> None:
        """Have the commit here, unless its files are already."""
        if not self._keep or os.path.isdir(folder_of(code, self._box.code)) or mirror.find_commit(code.version):
            return
        self._say(f"{code.service}: fetching {describe_code(code)}")
        mirror.fetch(listing.default, self._until())
        if mirror.find_commit(code.version) is None:
            raise OutOfReachError("it changed while it was being fetched")

    def _recall(self, want: Want, error: OutOfReachError) -> Finding:
        """What to do without an answer."""
        code = self._running.get(want.service)
        if code is not None and want_of(code) == want and os.path.isdir(folder_of(code, self._box.code)):
            self._say(f"{want.service}: cannot reach {want.place}: {error.args[0]}; it stays at {describe_code(code)}")
            return Finding(code=code)
        if want.source.kind == "git":
            mirror = self._mirror(want)
            listing = mirror.list_known()
            known = None if listing is None else _find_known(mirror, listing, want)
            if known is not None:
                code = code_of(want, *known)
                self._say(
                    f"{want.service}: cannot reach {want.place}: {error.args[0]}; using what was fetched last, "
                    f"{describe_code(code)}"
                )
                return Finding(code=code)
        elif want.ref is not None and (version := tree.find_version(self._box, want.service, want.ref)):
            code = code_of(want, want.ref, version)
            self._say(f"{want.service}: cannot reach {want.place}: {error.args[0]}; using {describe_code(code)}")
            return Finding(code=code)
        raise self._out_of_reach(want, error)

    def _out_of_reach(self, want: Want, error: OutOfReachError) -> Unavailable:
        asked = "" if want.ref is None else f" ref {quoted(want.ref)} of"
        way_out = error.args[1].strip() if len(error.args) > 1 else _WAY_OUT
        kind = NothingYet if isinstance(error, EmptyError) else Unavailable
        return kind(
            f"cannot fetch{asked} service {quoted(want.service)}: {harmless(error.args[0])}\n"
            f"  where: {want.place} (within {self._timeout_s:g} s), and this box has nothing of it that would do\n"
            f"  {way_out}"
        )

    def _mirror(self, want: Want) -> Mirror:
        return Mirror(self._box, want.source.url, want.service, keep=self._keep)

    def _until(self) -> float:
        assert self._deadline is not None  # noqa: S101 - resolve has set it; this tells the type checker
        return self._deadline


def open_checkouts(box: Box, request: Request, say: Say) -> Checkouts:
    """As a request wants them: a dry one keeps nothing."""
    return Checkouts(box, lambda text: say("", text), keep=not request.dry)


def _map_at_once(
    look: Callable[[Sequence[Want]], dict[str, Finding]], groups: list[list[Want]]
) -> list[dict[str, Finding]]:
    """All of them side by side: the slowest decides how long it takes. An interruption waits for none of them."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        found = list(pool.map(look, groups))
    except Exception:
        pool.shutdown(cancel_futures=True)
        raise
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)  # what they have started dies with us
        raise
    pool.shutdown()
    return found


def read_running(box: Box) -> tuple[Code, ...]:
    """The code of the generation in force."""
    current = store.read_current(box)
    return () if current is None else tuple(parse_code(raw) for raw in current.sources)


def place_running(box: Box, plan: Plan) -> Plan:
    """The plan as the box runs it, as far as it does: for those who only look."""
    return place_code(plan, [code for code in read_running(box) if code.service in _sourced(plan)], box.code)


def _sourced(plan: Plan) -> set[str]:
    return {want.service for want in wanted_code(plan)}


def read_kept(box: Box, wants: Sequence[Want]) -> tuple[Code, ...]:
    """The code that the box has in force for these services; raises Unavailable for those that have none."""
    running = {code.service: code for code in read_running(box)}
    missing = [
        want
        for want in wants
        if want.service not in running or not os.path.isdir(folder_of(running[want.service], box.code))
    ]
    if missing:
        names = ", ".join(quoted(want.service) for want in missing)
        raise Unavailable(
            f"cannot use the code of service {names}: it is not on this box\n"
            f"  where: {', '.join(dict.fromkeys(want.place for want in missing))}\n"
            '  way out: run "bootstrap up", which fetches it'
        )
    return tuple(running[want.service] for want in wants)


def owners_of(plan: Plan, accounts: Mapping[str, Account]) -> dict[str, Owner]:
    """Whom each service's code belongs to: its user, where all its processes have the same one; else us."""
    owners = {}
    for program in plan.programs:
        users = {process.user for process in program.service.processes.values()}
        account = accounts[program.name]
        alone = len(users) == 1 and None not in users
        mine = Owner(uid=os.geteuid(), gid=os.getegid())
        owners[program.service.name] = Owner(uid=account.uid, gid=account.gid) if alone else mine
    return owners


def tidy(box: Box, running: Iterable[str]) -> None:
    """Remove old versions, but none that a kept generation or a running program (by store name) uses."""
    tidy_mirrors(box)
    if not tree.has_many(box):
        return
    codes = {parse_code(raw) for generation, _ in store.read_generations(box) for raw in generation.sources}
    used = {folder_of(code, box.code) for code in codes}
    used |= {facts["code"]["folder"] for facts in read_facts(box, running).values() if "code" in facts}
    tree.prune(box, used)


def _default_of(listing: Listing) -> tuple[str, str]:
    if listing.default is None:
        raise OutOfReachError("it names no default branch (its HEAD leads nowhere)")
    return listing.default, listing.branches[listing.default]


def _find_known(mirror: Mirror, listing: Listing, want: Want) -> tuple[str, str] | None:
    """What the mirror has for this, by name; a ref that it does not have may be new."""
    if want.ref is None:
        return None if listing.default is None else (listing.default, listing.branches[listing.default])
    found = listing.find(want.ref) or (mirror.find_commit(want.ref) if may_be_commit(want.ref) else None)
    return None if found is None else (want.ref, found)


def _read_timeout() -> float:
    typed = os.environ.get("BOOTSTRAP_SOURCE_TIMEOUT", str(TIMEOUT_S))
    if not _SECONDS.fullmatch(typed) or not math.isfinite(float(typed)) or float(typed) <= 0:
        raise DefinitionError(
            f"cannot use BOOTSTRAP_SOURCE_TIMEOUT {quoted(typed)}: should be a number of seconds above 0\n"
            f"  way out: leave it out ({TIMEOUT_S:.0f}), or set one"
        )
    return float(typed)
