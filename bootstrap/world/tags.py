"""Every tag source of the contract → tags: the first source that applies, below what was typed.

On EC2 that is instance metadata, then DescribeTags, then the tags of the Auto Scaling group; a later one is asked only
while a required tag is missing, and an instance's own tag is stronger than its group's. Then a missing required tag is
waited for. Everywhere else it is an error at once. When the typed tags suffice, nothing that can block is asked.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import field
from functools import cache
from typing import TYPE_CHECKING

from bootstrap.errors import TagError
from bootstrap.frozen import dataclass
from bootstrap.spelling import quoted
from bootstrap.tag import MODE, PREFIX, SERVICE, Tag, contradictions, lie_over, missing_tags, qualified
from bootstrap.world import clock as house_clock
from bootstrap.world import disk
from bootstrap.world.ec2.instance_tags import wait_until_tagged
from bootstrap.world.imds import DMI, MetadataService, metadata_endpoint
from bootstrap.world.tags_file import read_tags_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bootstrap.box import Box
    from bootstrap.definition import Mode
    from bootstrap.world.clock import Clock

_TIMEOUT = "BOOTSTRAP_TAG_TIMEOUT"
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")
_MOST_PATIENCE_S = 86_400
_EXAMPLES = {MODE: "review", SERVICE: "NAME"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What tags are read from; a test brings its own."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    dmi: str = DMI
    patience_s: float = 120.0  # for required tags on EC2; BOOTSTRAP_TAG_TIMEOUT is stronger
    most_s: float = float("inf")  # stronger than both
    say: Callable[[str], None] = lambda _: None  # told once when waiting begins
    clock: Clock = house_clock


def read_tags(
    box: Box,
    typed: Iterable[str],
    tags_file: str | None,
    modes: Callable[[], Mapping[str, Mode]],
    machine: Machine | None = None,
) -> tuple[Tag, ...]:
    """The tags that say what this box is, sorted by key; ``modes`` is called only if a service may be required.

    Raises TagError, and Unavailable when a source that applies is out of reach.
    """
    machine = machine or Machine()
    modes = cache(modes)
    over = parse_typed(typed)
    if tags_file is not None:
        return _read_file_below(over, tags_file, box, must_exist=True)
    endpoint = metadata_endpoint(machine.environ, machine.dmi)
    if endpoint is None:
        return _read_file_below(over, _file_of(box), box, must_exist=False)
    if not _missing(over, modes):
        return over
    patience_s = min(machine.most_s, _patience(machine))
    service = MetadataService(endpoint, deadline=machine.clock.now() + patience_s, clock=machine.clock)
    try:
        under = wait_until_tagged(
            service,
            lambda under: _missing(lie_over(over, under), modes),
            patience_s=patience_s,
            say=machine.say,
        )
    finally:
        service.close()
    return lie_over(over, under)


def write_last_identity(box: Box, tags: Iterable[Tag]) -> None:
    """Keep the tags for ``--last-identity``; the disk is left alone when they are kept already."""
    document = {"tags": [{"key": tag.key, "value": tag.value, "source": tag.source} for tag in tags]}
    content = json.dumps(document, indent=2).encode() + b"\n"
    path = _last_identity_of(box)
    if disk.read_if_there(path) != content:
        disk.write_durably(path, content)


def read_last_identity(box: Box, typed: Iterable[str] = ()) -> tuple[Tag, ...]:
    """The tags that were kept, below what was typed; raises TagError when none were kept."""
    over = parse_typed(typed)
    content = disk.read_if_there(_last_identity_of(box))
    if content is None:
        raise _no_last_identity(box, "nothing was kept yet")
    try:
        return lie_over(over, [_parse_kept(item) for item in json.loads(content)["tags"]])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _no_last_identity(box, "the file is damaged") from error


def parse_typed(typed: Iterable[str]) -> tuple[Tag, ...]:
    """What stands after ``--tag``; raises TagError."""
    tags: list[Tag] = []
    problems: list[str] = []
    for text in typed:
        key, equals, value = text.partition("=")
        if key and equals:
            tags.append(Tag(key=qualified(key), value=value, source="--tag"))
        else:
            problems.append(f"cannot use --tag {quoted(text)}: should be KEY=VALUE, like mode=review")
    problems += contradictions(tags)
    if problems:
        raise TagError(*problems)
    return lie_over(tags, ())


def _missing(tags: tuple[Tag, ...], modes: Callable[[], Mapping[str, Mode]]) -> tuple[str, ...]:
    """Modes are a file and a YAML parser away: they are read only when there is a mode and no service."""
    if any(tag.key == SERVICE for tag in tags):
        return missing_tags(tags, {})
    return missing_tags(tags, {}) or missing_tags(tags, modes())


def _read_file_below(over: tuple[Tag, ...], path: str, box: Box, *, must_exist: bool) -> tuple[Tag, ...]:
    """A file is what it is, there is nothing to wait for: whether the mode wants a service, the plan will say."""
    under = read_tags_file(path)
    if under is None and must_exist:
        raise TagError(f'cannot read tags file "{path}": no such file\n  way out: correct --tags-file, or create it')
    tags = lie_over(over, under or ())
    if missing := missing_tags(tags, {}):
        seen = path if under is not None else f"{path} (no such file)"
        raise TagError(*(_absent_here(key, seen, box) for key in missing))
    return tags


def _absent_here(key: str, seen: str, box: Box) -> str:
    name = key.removeprefix(PREFIX)
    line = f"BOOTSTRAP_{name.upper()}={_EXAMPLES[key]}"
    return (
        f"cannot read tag {quoted(key)}: it is not set\n"
        f"  looked in --tag and {seen}\n"
        f"  way out: --tag {name}={_EXAMPLES[key]}, or --tags-file FILE with {line}, or that line in {_file_of(box)}"
    )


def _patience(machine: Machine) -> float:
    text = machine.environ.get(_TIMEOUT)
    if text is None:
        return machine.patience_s
    if not _SECONDS.fullmatch(text) or float(text) > _MOST_PATIENCE_S:
        raise TagError(
            f"cannot use {_TIMEOUT} {quoted(text)}: should be seconds from 0 to {_MOST_PATIENCE_S}\n"
            f"  way out: unset it ({machine.patience_s:g} s), or correct it"
        )
    return float(text)


def _file_of(box: Box) -> str:
    return f"{box.root}/bootstrap.env"


def _last_identity_of(box: Box) -> str:
    return f"{box.state}/last-identity.json"


def _parse_kept(item: Mapping[str, str]) -> Tag:
    key, value, source = item["key"], item["value"], item["source"]
    if not isinstance(key, str) or not isinstance(value, str):
        raise TypeError
    return Tag(key=key, value=value, source=f"last identity, {source}")


def _no_last_identity(box: Box, cause: str) -> TagError:
    return TagError(
        f'cannot read last identity "{_last_identity_of(box)}": {cause}\n  way out: run once without --last-identity'
    )
