"""The tags that a box writes on itself, for people and programs that look at the fleet."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from bootstrap.spelling import quoted
from bootstrap.world import aws

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_ec2.type_defs import TagTypeDef

LONGEST_VALUE = 256  # characters, not bytes
_PATIENCE_S = 45.0  # CreateTags refills at ten a second for a whole account
_LONGEST_PAUSE_S = 20.0  # nobody waits for it


def tag(*, instance_id: str, region: str, tags: Mapping[str, str]) -> None:
    """Set these tags on the instance, in one call; longer values are cut. Raises Unavailable."""
    client = cache(lambda: aws.session().client("ec2", region_name=region, config=aws.config()))
    pairs: list[TagTypeDef] = [{"Key": key, "Value": _cut(value)} for key, value in tags.items()]
    aws.call(
        "ec2:CreateTags",
        f"cannot tag instance {quoted(instance_id)}",
        lambda: client().create_tags(Resources=[instance_id], Tags=pairs),
        resource=f"instance/{instance_id}",
        patience_s=_PATIENCE_S,
        most_s=_LONGEST_PAUSE_S,
    )


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"
