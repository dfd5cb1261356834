"""This machine as an instance of EC2, as far as its metadata tells."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bootstrap.checkup import judge_clock
from bootstrap.diagnosis import Finding, ok, warn
from bootstrap.frozen import dataclass
from bootstrap.spelling import quoted
from bootstrap.world import clock
from bootstrap.world.ec2.instance import Instance
from bootstrap.world.imds import MetadataService, metadata_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE_S = 3.0  # metadata is one hop away
_ROLE = "meta-data/iam/security-credentials/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What was asked of the metadata service."""

    instance: Instance
    shows_tags: bool
    role: str | None
    time: float | None
    asked_at: float


def is_there() -> bool:
    """Whether this machine has instance metadata to ask."""
    return metadata_endpoint(os.environ) is not None


def read_metadata() -> Metadata | None:
    """``None`` where there is none; raises Unavailable where it does not answer, by IMDSv2."""
    endpoint = metadata_endpoint(os.environ)
    if endpoint is None:
        return None
    service = MetadataService(endpoint, deadline=clock.now() + _PATIENCE_S)
    try:
        instance = Instance(id=service.read_instance_id(), region=service.read_region(), address=service.read_address())
        return Metadata(
            instance=instance,
            shows_tags=service.read_tags() is not None,
            role=service.read(_ROLE) or None,
            time=service.read_time(),
            asked_at=clock.wall_seconds(),
        )
    finally:
        service.close()


def examine(metadata: Metadata | None) -> Iterator[Finding]:
    if metadata is None:
        yield warn(
            "this machine has no instance metadata: what it would be asked for on EC2 is not looked at",
            "run it on the instance; AWS_EC2_METADATA_SERVICE_ENDPOINT names a service that stands elsewhere",
        )
        return
    yield ok(f"instance {quoted(metadata.instance.id)} in {quoted(metadata.instance.region)}, by IMDSv2")
    if not metadata.shows_tags:
        yield warn(
            "tags are not enabled in instance metadata: each reading is a DescribeTags, of which an account has few",
            "InstanceMetadataTags=enabled in the metadata options of the launch template",
        )
    if metadata.role is None:
        yield warn(
            "the instance has no role: it can't call AWS",
            "attach an instance profile whose role has the policy of image/iam",
        )
    else:
        yield ok(f"its role is {quoted(metadata.role)}")


def examine_clock(metadata: Metadata | None) -> Iterator[Finding]:
    if metadata is not None and metadata.time is not None:
        yield judge_clock(metadata.asked_at, metadata.time)
