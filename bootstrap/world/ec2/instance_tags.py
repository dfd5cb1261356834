"""The sources that an instance has → its tags: metadata, DescribeTags, then its Auto Scaling group.

A later source is asked only while a required tag is missing; what an earlier one said stands. A source that AWS does
not let us ask is noted and passed over, because another one may yet have the tag.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from bootstrap.errors import TagError, Unavailable
from bootstrap.spelling import quoted
from bootstrap.tag import Tag, lie_over
from bootstrap.world.retry import retry_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bootstrap.world.imds import MetadataService

_GROUP_NAME = "aws:autoscaling:groupName"
_MOST_PAUSE_S = 10.0  # DescribeTags refills at 20 a second for a whole account
_CALL_S = 5.0  # for one AWS call with its retries: the next round asks again


class _StillMissingError(Exception):
    """One round through all sources left required tags open."""

    def __init__(self, look: _Look, missing: tuple[str, ...]) -> None:
        super().__init__(*missing)
        self.look = look
        self.missing = missing


@dataclass(slots=True, kw_only=True)
class _Look:
    """One round through the sources."""

    service: MetadataService
    tags: tuple[Tag, ...] = ()
    places: tuple[str, ...] = ()  # where was looked, and what became of it
    answered: bool = False  # by a source that knows tags

    def take(self, source: str, read: Mapping[str, str]) -> None:
        self.tags = lie_over(self.tags, [Tag(key=key, value=value, source=source) for key, value in read.items()])
        self.places += (f"{source} ({len(read)} tags)",)
        self.answered = True

    def pass_over(self, source: str, cause: str) -> None:
        self.places += (f"{source} ({cause})",)


def wait_until_tagged(
    service: MetadataService,
    missing_of: Callable[[tuple[Tag, ...]], tuple[str, ...]],
    *,
    patience_s: float,
    say: Callable[[str], None],
) -> tuple[Tag, ...]:
    """The tags, once ``missing_of`` them is nothing; ``say`` is told once that there is something to wait for.

    Ends at the deadline of the service, with TagError, or Unavailable when no source could be asked for tags at all.
    """
    say_once = cache(say)

    def attempt() -> tuple[Tag, ...]:
        look = _Look(service=service)
        for ask in (_ask_metadata, _ask_instance, _ask_group):
            ask(look)
            missing = missing_of(look.tags)
            if not missing:
                return look.tags
        say_once(f"waiting up to {patience_s:g} s for {_listed(missing)}")
        raise _StillMissingError(look, missing)

    try:
        return retry_until(
            service.deadline, attempt, again_on=_StillMissingError, most_s=_MOST_PAUSE_S, clock=service.clock
        )
    except _StillMissingError as still:
        raise _absent(still.look, still.missing, patience_s) from still


def _ask_metadata(look: _Look) -> None:
    tags = look.service.read_tags()
    if tags is None:
        look.pass_over("instance metadata", "tags are not enabled in it")
    else:
        look.take("instance metadata", tags)


def _ask_instance(look: _Look) -> None:
    from bootstrap.world.ec2 import errands  # noqa: PLC0415 - most boots never come here

    instance_id, region = look.service.read_instance_id(), look.service.read_region()
    try:
        read = errands.run("read-instance-tags", instance_id=instance_id, region=region, patience_s=_CALL_S)
        look.take("DescribeTags", read)
    except Unavailable as error:
        look.pass_over("DescribeTags", _cause_of(error))


def _ask_group(look: _Look) -> None:
    from bootstrap.world.ec2 import errands  # noqa: PLC0415

    instance_id, region = look.service.read_instance_id(), look.service.read_region()
    ask = partial(errands.run, region=region, patience_s=_CALL_S)
    try:
        group = _group_of(look.tags) or ask("read-group-name", instance_id=instance_id)
        if group is None:
            look.pass_over("Auto Scaling group", "the instance is in none")
        else:
            look.take(f"Auto Scaling group {quoted(group)}", ask("read-group-tags", group=group))
    except Unavailable as error:
        look.pass_over("Auto Scaling group", _cause_of(error))


def _group_of(tags: Iterable[Tag]) -> str | None:
    return next((tag.value for tag in tags if tag.key == _GROUP_NAME), None)


def _absent(look: _Look, missing: tuple[str, ...], patience_s: float) -> TagError | Unavailable:
    where = f"looked in --tag, {', '.join(look.places)}"
    instance_id = look.service.read_instance_id()
    if not look.answered:
        return Unavailable(
            f'cannot read the tags of instance "{instance_id}": no source answered in {patience_s:g} s\n  {where}\n'
            "  way out: enable tags in the instance's metadata options, or grant ec2:DescribeTags to its role"
        )
    seen = ", ".join(quoted(tag.key) for tag in look.tags) or "none"
    return TagError(
        *(
            f"cannot read tag {quoted(key)}: still not set after {patience_s:g} s\n  {where}\n  tags seen: {seen}\n"
            f"  way out: set it on instance {instance_id}, in its launch template or on its Auto Scaling group"
            for key in missing
        )
    )


def _cause_of(error: Unavailable) -> str:
    """What its first line says after the colon."""
    return str(error).partition("\n")[0].partition(": ")[2]


def _listed(keys: Iterable[str]) -> str:
    return " and ".join(f"tag {quoted(key)}" for key in keys)
