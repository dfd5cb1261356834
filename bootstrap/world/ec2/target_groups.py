"""Target groups of Elastic Load Balancing: who is in them, how they are, and this box coming and going.

A target is an id and a port; the id is the instance, or its address where the group says so.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from bootstrap.errors import TagError
from bootstrap.frozen import dataclass
from bootstrap.spelling import did_you_mean, quoted
from bootstrap.world import aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client
    from mypy_boto3_elbv2.type_defs import (
        TargetDescriptionTypeDef,
        TargetGroupTypeDef,
        TargetHealthDescriptionTypeDef,
    )

DEFAULT_DELAY_S = 300.0  # a target group's own, unless it is told otherwise
_DELAY = "deregistration_delay.timeout_seconds"
_WHERE = "  where: tag bootstrap:target-groups, or target-groups of the service's definition\n"
_MOST_NAMES = 20  # that one call takes


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetGroup:
    """One that exists, with the word that it was named by."""

    text: str
    name: str
    arn: str
    by_address: bool
    check_port: str  # a number, or "traffic-port"
    check_path: str | None  # of HTTP and HTTPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a load balancer sees one target; ``reason`` is why, unless it is healthy."""

    target: str
    port: int
    state: str
    reason: str | None

    @property
    def is_gone(self) -> bool:
        """No request is under way from the load balancer, nor will be."""
        return self.state == "unused"


class Balancer:
    """The calls, for one region."""

    def __init__(self, region: str | None) -> None:
        self._region = region
        self._client: Callable[[], ElasticLoadBalancingv2Client] = cache(
            lambda: aws.session().client("elbv2", region_name=region, config=aws.config())
        )

    def find(self, texts: Iterable[str]) -> tuple[list[TargetGroup], list[str]]:
        """Those that exist, in order, and what is wrong with the others."""
        wanted = list(dict.fromkeys(texts))
        found = self._read_named(wanted) if wanted else {}
        if found is None:
            everyone = self._read_all()
            found = {one["TargetGroupName"]: one for one in everyone} | {one["TargetGroupArn"]: one for one in everyone}
        groups, problems = [], []
        for text in wanted:
            match found.get(text):
                case None:
                    problems.append(self._describe_absence(text, found))
                case {"TargetType": "instance" | "ip"} as one:
                    groups.append(_parse_group(text, one))
                case other:
                    problems.append(_describe_misfit(text, other["TargetType"]))
        return groups, problems

    def find_all(self, texts: Iterable[str]) -> list[TargetGroup]:
        """The same; raises TagError with all problems."""
        groups, problems = self.find(texts)
        if problems:
            raise TagError(*problems)
        return groups

    def register(self, group: TargetGroup, target: str, ports: Iterable[int]) -> None:
        """One that is registered stays so."""
        targets = _describe(target, ports)
        aws.call(
            "elasticloadbalancing:RegisterTargets",
            f"cannot register {target} with target group {quoted(group.name)}",
            lambda: self._client().register_targets(TargetGroupArn=group.arn, Targets=targets),
            resource=group.arn,
        )

    def deregister(self, group: TargetGroup, target: str, ports: Iterable[int]) -> None:
        """One that is not registered is no error."""
        targets = _describe(target, ports)
        aws.call(
            "elasticloadbalancing:DeregisterTargets",
            f"cannot deregister {target} from target group {quoted(group.name)}",
            lambda: self._client().deregister_targets(TargetGroupArn=group.arn, Targets=targets),
            resource=group.arn,
        )

    def read_health(self, group: TargetGroup, target: str = "", ports: Iterable[int] = ()) -> list[Health]:
        """Of one target, or of all that are registered or still draining."""
        targets = _describe(target, ports)

        def ask() -> list[TargetHealthDescriptionTypeDef]:
            client = self._client()
            if targets:
                return client.describe_target_health(TargetGroupArn=group.arn, Targets=targets)[
                    "TargetHealthDescriptions"
                ]
            return client.describe_target_health(TargetGroupArn=group.arn)["TargetHealthDescriptions"]

        failure = f"cannot read the targets of target group {quoted(group.name)}"
        return [_parse_health(one) for one in aws.call("elasticloadbalancing:DescribeTargetHealth", failure, ask)]

    def read_delay_s(self, group: TargetGroup) -> float:
        """How long a target that is deregistered may finish its requests."""
        attributes = aws.call(
            "elasticloadbalancing:DescribeTargetGroupAttributes",
            f"cannot read the attributes of target group {quoted(group.name)}",
            lambda: self._client().describe_target_group_attributes(TargetGroupArn=group.arn)["Attributes"],
        )
        delays = [float(one["Value"]) for one in attributes if one["Key"] == _DELAY]
        return delays[0] if delays else DEFAULT_DELAY_S

    def _read_named(self, wanted: list[str]) -> dict[str, TargetGroupTypeDef] | None:
        """By the word that each was named by; ``None`` when one does not exist: AWS does not say which."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - only with AWS

        arns = [text for text in wanted if text.startswith("arn:")]
        names = [text for text in wanted if not text.startswith("arn:")]

        def ask() -> dict[str, TargetGroupTypeDef] | None:
            client = self._client()
            try:
                by_name = [client.describe_target_groups(Names=part)["TargetGroups"] for part in _parts(names)]
                by_arn = [client.describe_target_groups(TargetGroupArns=part)["TargetGroups"] for part in _parts(arns)]
            except ClientError as error:
                if error.response["Error"]["Code"] in {"TargetGroupNotFound", "ValidationError"}:
                    return None
                raise
            return {one["TargetGroupName"]: one for part in by_name for one in part} | {
                one["TargetGroupArn"]: one for part in by_arn for one in part
            }

        return aws.call("elasticloadbalancing:DescribeTargetGroups", _reading(wanted), ask)

    def _read_all(self) -> list[TargetGroupTypeDef]:
        def ask() -> list[TargetGroupTypeDef]:
            pages = self._client().get_paginator("describe_target_groups").paginate()
            return [group for page in pages for group in page["TargetGroups"]]

        return aws.call("elasticloadbalancing:DescribeTargetGroups", "cannot read the target groups", ask)

    def _describe_absence(self, text: str, found: dict[str, Any]) -> str:
        known = [key for key in found if key.startswith("arn:") == text.startswith("arn:")]
        place = f" in {self._region}" if self._region else ""
        return (
            f"cannot use target group {quoted(text)}: there is none{place}{did_you_mean(text, known)}\n{_WHERE}"
            "  way out: correct the name, or create the target group"
        )


def _parse_group(text: str, raw: TargetGroupTypeDef) -> TargetGroup:
    return TargetGroup(
        text=text,
        name=raw["TargetGroupName"],
        arn=raw["TargetGroupArn"],
        by_address=raw["TargetType"] == "ip",
        check_port=raw.get("HealthCheckPort", "traffic-port"),
        check_path=raw.get("HealthCheckPath"),
    )


def _describe_misfit(text: str, kind: str) -> str:
    return (
        f"cannot use target group {quoted(text)}: its targets are of type {quoted(kind)}, and this is an instance\n"
        f"{_WHERE}  way out: name a target group of type instance or ip"
    )


def _reading(wanted: list[str]) -> str:
    noun = "target group" if len(wanted) == 1 else "target groups"
    return f"cannot read {noun} {' and '.join(quoted(text) for text in wanted)}"


def _parts(words: list[str]) -> list[list[str]]:
    return [words[start : start + _MOST_NAMES] for start in range(0, len(words), _MOST_NAMES)]


def _describe(target: str, ports: Iterable[int]) -> list[TargetDescriptionTypeDef]:
    return [{"Id": target, "Port": port} for port in ports]


def _parse_health(raw: TargetHealthDescriptionTypeDef) -> Health:
    health = raw.get("TargetHealth", {})
    return Health(
        target=raw["Target"]["Id"],
        port=raw["Target"].get("Port", 0),
        state=health.get("State", "unavailable"),
        reason=health.get("Reason"),
    )
