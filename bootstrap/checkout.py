"""Plan + what the sources hold → the code of each service, and the plan with its folders where that code stands.

`bootstrap:ref.<service>` goes before `bootstrap:ref`; without either it is the source's default. A source that lacks
`bootstrap:ref` gives its default, which is said, because a branch rarely exists in every repository of a stack; a ref
that none of them has is a misspelling and refused, and so is a `bootstrap:ref.<service>` that its one source lacks.

The definition stays in the service's folder; what runs (working directory, scripts, `runtime.path`) is the checkout's.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bootstrap.definition import Code, Source
from bootstrap.errors import TagError
from bootstrap.frozen import dataclass
from bootstrap.spelling import did_you_mean, harmless, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bootstrap.plan import Plan

_USERINFO = re.compile(r"(?<=://)[^/@]*@")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """What a service of this box asks its source for."""

    service: str
    source: Source
    ref: str | None
    is_own: bool  # the ref is this service's alone

    @property
    def place(self) -> str:
        """The source as it may be shown: an address may hold a password."""
        return show_address(self.source.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a source answered; ``is_missing`` if it was seen to lack the ref, and ``code`` is its default."""

    code: Code
    is_missing: bool = False
    refs: tuple[str, ...] = ()  # what it has instead


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a git repository has: short names of branches and tags → commits."""

    default: str | None  # a branch
    branches: Mapping[str, str]
    tags: Mapping[str, str]

    def find(self, ref: str) -> str | None:
        """The commit of a branch, else of a tag."""
        branch, tag = ref.removeprefix("refs/heads/"), ref.removeprefix("refs/tags/")
        return self.branches.get(branch) or self.tags.get(tag)


def parse_listing(text: str) -> Listing:
    """What `git ls-remote --symref` prints; see git-ls-remote(1). An annotated tag's commit is told after it, `^{}`."""
    default = None
    branches: dict[str, str] = {}
    tags: dict[str, str] = {}
    for line in text.splitlines():
        what, _, name = line.partition("\t")
        if what.startswith("ref: refs/heads/") and name == "HEAD":
            default = what.removeprefix("ref: refs/heads/")
        elif name.startswith("refs/heads/"):
            branches[name.removeprefix("refs/heads/")] = what
        elif name.startswith("refs/tags/"):
            tags[name.removeprefix("refs/tags/").removesuffix("^{}")] = what
    return Listing(default=default if default in branches else None, branches=branches, tags=tags)


def may_be_commit(ref: str) -> bool:
    """Whether a ref reads like the id of a commit, whole or abbreviated."""
    return _COMMIT.fullmatch(ref) is not None


def show_address(url: str) -> str:
    """An address without the user name and password that it may hold."""
    return harmless(_USERINFO.sub("", url))


def wanted_code(plan: Plan) -> tuple[Want, ...]:
    """What the services of this plan ask their sources for, by service; nothing for those that run their own folder."""
    identity = plan.identity
    services = {program.service.name: program.service for program in plan.programs}
    return tuple(
        Want(
            service=name,
            source=service.source,
            ref=identity.refs.get(name, identity.ref),
            is_own=name in identity.refs,
        )
        for name, service in sorted(services.items())
        if service.source is not None
    )


def choose_code(wants: Sequence[Want], findings: Mapping[str, Finding]) -> tuple[tuple[Code, ...], list[str]]:
    """The code of every service, and what has to be said about it; ``findings`` are by service. Raises TagError."""
    problems = [
        _missing(f"bootstrap:ref.{want.service}", want.ref, [want], findings)
        for want in wants
        if want.ref is not None and want.is_own and findings[want.service].is_missing
    ]
    shared = [want for want in wants if want.ref is not None and not want.is_own]
    if shared and all(findings[want.service].is_missing for want in shared):
        problems.append(_missing("bootstrap:ref", shared[0].ref or "", shared, findings))
    if problems:
        raise TagError(*problems)
    notices = [
        f"{want.service}: no ref {quoted(want.ref or '')}, using {_describe_default(findings[want.service].code)}"
        for want in shared
        if findings[want.service].is_missing
    ]
    return tuple(findings[want.service].code for want in wants), notices


def place_code(plan: Plan, codes: Iterable[Code], directory: str) -> Plan:
    """The same plan, its services in the folders where their code stands; ``directory`` holds one for each service."""
    by_service = {code.service: code for code in codes}
    programs = tuple(
        replace(
            program,
            service=replace(program.service, code=code, folder=folder_of(code, directory)),
        )
        if (code := by_service.get(program.service.name)) is not None
        else program
        for program in plan.programs
    )
    return replace(plan, programs=programs)


def folder_of(code: Code, directory: str) -> str:
    """Where this version of a service's code stands."""
    return f"{directory}/{code.service}/{code.version}"


def describe_code(code: Code) -> str:
    """`1a2b3c4d (main)`, or what a tarball is called and its digest: `1.4.2 (sha256 5c0e3a9b)`."""
    if code.kind == "s3":
        return f"{code.ref} (sha256 {code.version[-12:-4]})"
    return code.version[:8] if code.version.startswith(code.ref) else f"{code.version[:8]} ({code.ref})"


def render_code(code: Code) -> dict[str, Any]:
    """Code as a generation's summary has it."""
    return {name: getattr(code, name) for name in Code.__slots__}


def parse_code(raw: Mapping[str, Any]) -> Code:
    """The inverse of ``render_code``."""
    return Code(**raw)


def code_of(want: Want, ref: str, version: str) -> Code:
    """What was found for a want: `ref` is what it is called there, `version` what it is called here."""
    source = want.source
    return Code(
        service=want.service,
        kind=source.kind,
        url=source.url,
        wanted=want.ref,
        is_own=want.is_own,
        ref=ref,
        version=version,
    )


def want_of(code: Code) -> Want:
    """What was asked for when this code was the answer."""
    return Want(service=code.service, source=Source(kind=code.kind, url=code.url), ref=code.wanted, is_own=code.is_own)


def _missing(tag: str, ref: str, wants: Sequence[Want], findings: Mapping[str, Finding]) -> str:
    refs = {name for want in wants for name in findings[want.service].refs}
    where = ", ".join(dict.fromkeys(f"{want.place} ({want.service})" for want in wants))
    lacks = "its source has no" if len(wants) == 1 else "no source of this box has a"
    return (
        f"cannot use tag {quoted(tag)}: {lacks} branch, tag, commit or version {quoted(ref)}{did_you_mean(ref, refs)}\n"
        f"  where: {where}\n"
        "  way out: push it there, or correct the tag"
    )


def _describe_default(code: Code) -> str:
    """`main (1a2b3c4d)`: in this sentence the name comes first."""
    return f"{code.ref} ({code.version[:8]})" if code.kind == "git" else describe_code(code)
