"""What was read of a box → findings; where nothing has to be read to know, this is all there is to a check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootstrap.diagnosis import Finding, fail, ok, warn
from bootstrap.frozen import dataclass
from bootstrap.spelling import listed, quoted
from bootstrap.tag import MODE, fits_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from bootstrap.identity import Identity
    from bootstrap.tag import Tag

TRAFFIC_PORT = "traffic-port"  # a health check's word for the port of the target itself
_ANSWERS = ("/healthz", "/readyz")  # paths of the health endpoint that tell whether the box is well
_LITTLE = 200_000_000  # bytes
_SHARE = 0.1
_FAR_OFF_S = 300.0  # AWS refuses signatures that are older or younger
_FILES_EACH = 3  # supervisord's own, for each program
_FILES_BESIDE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What is left in a file system; ``files`` is 0 where it counts none."""

    path: str
    bytes: int
    free_bytes: int
    files: int
    free_files: int
    is_memory: bool = False


def judge_tags(tags: Iterable[Tag]) -> Iterator[Finding]:
    found = list(tags)
    for tag in found:
        if not fits_metadata(tag.key):
            yield warn(
                f"tag {quoted(tag.key)} can't be shown by instance metadata: a launch that asks for that fails",
                "rename it: letters, digits and -_+=,.@: are allowed, spaces and slashes are not",
                tag.source,
            )
    mode = {tag.key: tag for tag in found}[MODE]
    others = "" if len(found) == 1 else f", and {len(found) - 1} more"
    yield ok(f"mode is {quoted(mode.value)} (from {mode.source}){others}")


def judge_identity(identity: Identity, now: datetime) -> Iterator[Finding]:
    if identity.expires is not None and identity.expires <= now:
        tag = next(tag for tag in identity.tags if tag.key == "bootstrap:expires")
        yield warn(
            f'tag "bootstrap:expires" says that this box was to end at {tag.value}',
            "end the box, or set a later time",
            tag.source,
        )
    words = [identity.mode, identity.service, identity.process]
    yield ok(f"this box is for {' '.join(word for word in words if word)}")


def judge_space(space: Space) -> Iterator[Finding]:
    """In memory 200 MB are not little: all of it may be less."""
    where = f"{space.path} has {_megabytes(space.free_bytes)} of {_megabytes(space.bytes)} free"
    if space.free_bytes <= 0:
        yield fail(f"{space.path} is full", "remove what is not needed there, or give it more room")
    elif space.free_bytes < space.bytes * _SHARE or (space.free_bytes < _LITTLE and not space.is_memory):
        yield warn(where, "remove what is not needed there, or give it more room")
    else:
        yield ok(where)
    if space.files and space.free_files <= 0:
        yield fail(f"{space.path} can't hold another file: it has no inodes left", "remove files there")
    elif space.files and space.free_files < space.files * _SHARE:
        yield warn(f"{space.path} has {space.free_files} of {space.files} inodes free", "remove files there")


def judge_clock(ours: float, theirs: float) -> Finding:
    off_s = round(ours - theirs)
    if abs(off_s) <= _FAR_OFF_S:
        return ok("the clock agrees with the one of instance metadata")
    word = "ahead of" if off_s > 0 else "behind"
    return fail(
        f"the clock is {abs(off_s)} s {word} the one of instance metadata, and AWS refuses what is signed with it",
        "have it set: chronyd or systemd-timesyncd with 169.254.169.123",
    )


def judge_descriptors(most: float, programs: int) -> Finding:
    needed = programs * _FILES_EACH + _FILES_BESIDE
    if most < needed:
        return fail(
            f"supervisord may open {most:.0f} files, and takes {needed} to run this plan",
            "raise the hard limit: LimitNOFILE= in the unit that starts bootstrap, or ulimit -H -n",
        )
    return ok("supervisord may open as many files as it has to")


def judge_health_check(
    group: str, wanted: Mapping[str, Any], ports: Iterable[int], health: Mapping[str, Any] | None
) -> Finding:
    """Whether what the target group asks is answered here; ``ports`` are those of programs."""
    port, path = str(wanted["port"]), wanted["path"]
    asked = f"target group {quoted(group)} checks port {port}" + ("" if path is None else f", path {quoted(path)}")
    if port == TRAFFIC_PORT:
        return ok(f"target group {quoted(group)} checks the port that it sends requests to")
    if health is None or port != str(health["port"]):
        served = sorted({*ports, *([health["port"]] if health else [])})
        if port in map(str, served):
            return ok(asked)
        return warn(
            f"{asked}, and nothing here listens there (ports: {listed(map(str, served))})",
            "correct the health check of the target group, or give a program or health: that port",
        )
    if health["address"] == "127.0.0.1":
        return warn(
            f"{asked}, and the health endpoint listens on 127.0.0.1 alone",
            'give it an address that the load balancer reaches, health: {address: "0.0.0.0"}',
        )
    if path is not None and path not in _ANSWERS:
        return warn(
            f"{asked}, where the health endpoint does not tell how the box is",
            f"let the target group ask for one of {', '.join(_ANSWERS)}",
        )
    return ok(asked)


def _megabytes(number: int) -> str:
    return f"{number / 1_000_000:.0f} MB"
