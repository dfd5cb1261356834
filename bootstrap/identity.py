"""Raw tags → Identity.

A tag value is hostile input: names match ``NAME``, everything else has a closed grammar of its own. All problems are
reported at once. Nothing is guessed: a mode that is not set is an error, never a default. Tags outside of
``bootstrap:`` are kept and mean nothing; inside of it an unknown key is an error, because it is a misspelling.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from bootstrap.errors import TagError
from bootstrap.frozen import dataclass
from bootstrap.spelling import nearest, quoted
from bootstrap.tag import KEYS, MODE, PREFIX, REF_OF, SERVICE, STATUS, Tag, contradictions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

T = TypeVar("T")

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_NAME_GRAMMAR = "should be lower-case letters, digits and hyphens (63 at most, no hyphen first)"
_SCALE = re.compile(r"([^=]*)=([1-9][0-9]?|100)")
_REF = re.compile(r"(?!.*(\.\.|\.lock(/|$)|\./))\w[\w.+=@-]*(/\w[\w.+=@-]*)*(?<!\.)", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_GROUP_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?"
TARGET_GROUP = re.compile(
    rf"{_GROUP_NAME}|arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]{{12}}:targetgroup/{_GROUP_NAME}/[0-9a-f]{{16}}"
)
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS = re.compile(rf"(?!.{{255}})(?:\*\.)?{_LABEL}(?:\.{_LABEL})+\.?")
BUCKET = re.compile(
    r"(?!xn--|sthree-|amzn-s3-demo-|.*\.\.|\d+\.\d+\.\d+\.\d+$|.*(?:-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3)$)"
    r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What this box is for."""

    mode: str
    service: str | None = None
    process: str | None = None
    scale: Mapping[str, int]  # process name -> instances
    ref: str | None = None
    refs: Mapping[str, str]  # service name -> git ref
    expires: datetime | None = None
    target_groups: tuple[str, ...] = ()
    dns: str | None = None
    bucket: str | None = None
    hold: bool = False
    tags: tuple[Tag, ...]  # all that were read, sorted by key


def parse_identity(tags: Iterable[Tag]) -> Identity:
    """Read every ``bootstrap:`` tag; raises TagError with all problems."""
    every = tuple(sorted(tags, key=lambda tag: (tag.key, tag.source)))
    ours = [tag for tag in every if tag.key.startswith(PREFIX) and not _is_status(tag.key)]
    problems = [*contradictions(ours), *_unknown_keys(ours)]
    values = _Values(tags={tag.key: tag for tag in ours}, problems=problems)
    mode = values.parse(MODE, _parse_name)
    service = values.parse(SERVICE, _parse_name)
    process = values.parse("bootstrap:process", _parse_name)
    scale = values.parse("bootstrap:scale", _parse_scale)
    ref = values.parse("bootstrap:ref", _parse_ref)
    refs = {key.removeprefix(REF_OF): values.parse(key, _parse_ref) for key in values.tags if _is_ref_of_service(key)}
    expires = values.parse("bootstrap:expires", _parse_time)
    target_groups = values.parse("bootstrap:target-groups", _parse_target_groups)
    dns = values.parse("bootstrap:dns", _parse_dns)
    bucket = values.parse("bootstrap:bucket", _parse_bucket)
    hold = values.parse("bootstrap:hold", _parse_hold)
    if MODE not in values.tags:
        problems.append(f'cannot read tag "{MODE}": it is not set, and a mode is never guessed')
    if mode is None or problems:
        raise TagError(*problems)
    return Identity(
        mode=mode,
        service=service,
        process=process,
        scale=scale or {},
        ref=ref,
        refs={name: value for name, value in refs.items() if value is not None},
        expires=expires,
        target_groups=target_groups or (),
        dns=dns,
        bucket=bucket,
        hold=hold or False,
        tags=every,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Values:
    """The tags that are parsed, and the one list that takes every problem."""

    tags: Mapping[str, Tag]
    problems: list[str]

    def parse(self, key: str, parse_value: Callable[[str], T]) -> T | None:
        tag = self.tags.get(key)
        if tag is None:
            return None
        try:
            return parse_value(tag.value)
        except _UnfitError as unfit:
            self.problems.append(f"cannot use tag {quoted(key)}: {unfit}, not {quoted(tag.value)} (from {tag.source})")
            return None


class _UnfitError(ValueError):
    """A value outside of its grammar; the text says what it should be."""


def is_ref(text: str) -> bool:
    """Whether this may name a branch, a tag, a commit or a version; see git-check-ref-format(1)."""
    return len(text) <= 255 and _REF.fullmatch(text) is not None


def _unknown_keys(ours: Iterable[Tag]) -> list[str]:
    return [
        f"cannot use tag {quoted(tag.key)}: {_why_unknown(tag.key)} (from {tag.source})"
        for tag in ours
        if tag.key not in KEYS and not _is_ref_of_service(tag.key)
    ]


def _why_unknown(key: str) -> str:
    if key.startswith(REF_OF):
        return f"the service after {quoted(REF_OF)} {_NAME_GRAMMAR}"
    near = nearest(
        key.removeprefix(PREFIX), [known.removeprefix(PREFIX) for known in KEYS]
    )  # the prefix is no likeness
    if near is not None:
        return f"no such key; did you mean {quoted(PREFIX + near)}?"
    return f"no such key; the keys are {', '.join(KEYS)} and {REF_OF}<service>"


def _is_status(key: str) -> bool:
    return key == STATUS or key.startswith(f"{STATUS}.")


def _is_ref_of_service(key: str) -> bool:
    return key.startswith(REF_OF) and NAME.fullmatch(key.removeprefix(REF_OF)) is not None


def _parse_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise _UnfitError(_NAME_GRAMMAR)
    return text


def _parse_scale(text: str) -> dict[str, int]:
    scale: dict[str, int] = {}
    for item in text.split(","):
        match = _SCALE.fullmatch(item)
        if match is None or not NAME.fullmatch(match[1]):
            raise _UnfitError("should be like web=2,worker=3, 1 to 100 each")
        if match[1] in scale:
            raise _UnfitError(f"should name {quoted(match[1])} once")
        scale[match[1]] = int(match[2])
    return scale


def _parse_ref(text: str) -> str:
    if not is_ref(text):
        raise _UnfitError("should be a git branch, tag or commit of letters, digits and ._/+=@- (255 at most)")
    return text


def _parse_time(text: str) -> datetime:
    unfit = _UnfitError("should be a time with its zone like 2030-01-31T18:00:00Z")
    if not _TIME.fullmatch(text):
        raise unfit
    from datetime import datetime  # noqa: PLC0415 - few boxes have a time to read

    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        raise unfit from None


def _parse_target_groups(text: str) -> tuple[str, ...]:
    groups = tuple(text.split(","))
    if not all(TARGET_GROUP.fullmatch(group) for group in groups):
        raise _UnfitError("should be names or ARNs of target groups with commas between them")
    if len(set(groups)) < len(groups):
        raise _UnfitError("should name each target group once")
    return groups


def _parse_dns(text: str) -> str:
    if not _DNS.fullmatch(text):
        raise _UnfitError("should be a record name like review-7.example.com")
    return text.lower().removesuffix(".")


def _parse_bucket(text: str) -> str:
    if not BUCKET.fullmatch(text):
        raise _UnfitError("should be the name of an S3 bucket")
    return text


def _parse_hold(text: str) -> bool:
    if text not in {"true", "false"}:
        raise _UnfitError("should be true or false")
    return text == "true"
