"""AWS calls → values; every failure is Unavailable and names the action, the thing and, if denied, what to grant.

boto3 is imported inside the functions that need it: it costs thirty times the start of an interpreter, and most boots
never need it. botocore's own retries are off, because the house has one retry and one deadline.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from bootstrap.errors import Unavailable
from bootstrap.spelling import harmless, quoted
from bootstrap.world import clock as house_clock
from bootstrap.world.ec2 import grants
from bootstrap.world.imds import MetadataService, metadata_endpoint
from bootstrap.world.retry import retry_until

if TYPE_CHECKING:
    from collections.abc import Callable

    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.loaders import Loader

    from bootstrap.world.clock import Clock

T = TypeVar("T")

_SEE_WHAT_ANSWERS = (
    "way out: see that it is AWS that answers here (a proxy? AWS_ENDPOINT_URL?) and run the command again"
)
_LONGEST = 300  # characters of what AWS says
_LOGIN = re.compile(r"//[^/@\s]*@")

_PATIENCE_S = 20.0
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure")
_BUSY = (
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "PriorRequestNotComplete",
    "TooManyRequestsException",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "InternalServiceError",
    "ServiceUnavailable",
    "Unavailable",
)


class DeniedError(Unavailable):
    """The credentials are good and not allowed to do this: only an administrator ends it."""


class UnconfiguredError(Unavailable):
    """No region or no credentials: this is no machine that AWS knows."""


class _BusyError(Unavailable):
    """Throttled, broken or out of reach: may work a moment later."""


def read_instance_tags(instance_id: str, region: str | None, *, patience_s: float = _PATIENCE_S) -> dict[str, str]:
    """The tags of one instance (DescribeTags)."""
    client = cache(lambda: session().client("ec2", region_name=region, config=config()))

    def ask() -> dict[str, str]:
        paginator = client().get_paginator("describe_tags")
        pages = paginator.paginate(Filters=[{"Name": "resource-id", "Values": [instance_id]}])
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}

    return call("ec2:DescribeTags", f'cannot read the tags of instance "{instance_id}"', ask, patience_s=patience_s)


def read_group_name(instance_id: str, region: str | None, *, patience_s: float = _PATIENCE_S) -> str | None:
    """The Auto Scaling group that the instance belongs to, ``None`` if to none."""
    client = cache(lambda: session().client("autoscaling", region_name=region, config=config()))

    def ask() -> str | None:
        members = client().describe_auto_scaling_instances(InstanceIds=[instance_id])["AutoScalingInstances"]
        return members[0]["AutoScalingGroupName"] if members else None

    return call(
        "autoscaling:DescribeAutoScalingInstances",
        f'cannot read the Auto Scaling group of instance "{instance_id}"',
        ask,
        patience_s=patience_s,
    )


def read_group_tags(group: str, region: str | None, *, patience_s: float = _PATIENCE_S) -> dict[str, str]:
    """The tags of an Auto Scaling group, those that are not propagated included."""
    client = cache(lambda: session().client("autoscaling", region_name=region, config=config()))

    def ask() -> dict[str, str]:
        paginator = client().get_paginator("describe_tags")
        pages = paginator.paginate(Filters=[{"Name": "auto-scaling-group", "Values": [group]}])
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}

    return call(
        "autoscaling:DescribeTags",
        f"cannot read the tags of Auto Scaling group {quoted(group)}",
        ask,
        patience_s=patience_s,
    )


def read_own_region() -> str | None:
    """The region that is configured, else the one that this instance is in: boto3 knows only the first."""
    configured = session().region_name
    endpoint = metadata_endpoint(os.environ)
    if configured is not None or endpoint is None:
        return configured
    service = MetadataService(endpoint, deadline=house_clock.now() + _PATIENCE_S)
    try:
        return service.read_region()
    finally:
        service.close()


def session() -> boto3.Session:
    """A session that asks instance metadata for credentials more than once: the first seconds of a boot are slow."""
    import boto3  # noqa: PLC0415
    import botocore.session  # noqa: PLC0415

    botocore_session = botocore.session.get_session()
    botocore_session.register_component("data_loader", _loader())
    botocore_session.set_config_variable("metadata_service_num_attempts", 3)
    return boto3.Session(botocore_session=botocore_session)


@cache
def _loader() -> Loader:
    """What reads the descriptions of services: one for all sessions, because reading takes longer than a call."""
    from botocore.loaders import create_loader  # noqa: PLC0415

    return create_loader()


def config() -> Config:
    """No call may take longer than a person would wait."""
    from botocore.config import Config  # noqa: PLC0415

    return Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1, "mode": "standard"})


def call(
    action: str,
    failure: str,
    ask: Callable[[], T],
    *,
    resource: str | None = None,
    patience_s: float = _PATIENCE_S,
    most_s: float = 5.0,
    clock: Clock = house_clock,
) -> T:
    """What ``ask`` returns; ``action`` is the IAM action, ``failure`` how the sentence about its failure begins.

    ``resource`` is what the action is done to, where IAM lets one be named; ``most_s`` is the longest pause between two
    tries. An answer that ``ask`` understands (no such parameter) it handles itself.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    def attempt() -> T:
        try:
            return ask()
        except ClientError as error:
            raise _judge_answer(action, resource, failure, error) from error
        except BotoCoreError as error:
            raise _judge_silence(action, failure, error) from error
        except (ResponseParserError, LookupError, TypeError, AttributeError, ValueError) as error:
            # A proxy's page, half an answer: not from whom we asked. It may hold anything, so nothing of it is told.
            text = f"{failure}: the answer to {action} makes no sense ({type(error).__name__})\n  {_SEE_WHAT_ANSWERS}"
            raise _BusyError(text) from None

    return retry_until(clock.now() + patience_s, attempt, again_on=_BusyError, most_s=most_s, clock=clock)


def _judge_answer(action: str, resource: str | None, failure: str, error: ClientError) -> Unavailable:
    code = _short(error.response["Error"]["Code"])
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code in _DENIED:
        return DeniedError(f"{failure}: access denied ({code})\n{grants.render_way_out(action, resource)}")
    said = _short(error.response["Error"].get("Message", ""))
    text = f"{failure}: AWS answered {code} to {action} ({said})\n  way out: "
    if code in _BUSY or status >= 500 or status == 429:
        return _BusyError(f"{text}wait a moment and run the command again")
    return Unavailable(f"{text}correct what AWS speaks of, and run the command again")


def _judge_silence(action: str, failure: str, error: BotoCoreError) -> Unavailable:
    from botocore.exceptions import (  # noqa: PLC0415
        HTTPClientError,
        NoCredentialsError,
        NoRegionError,
        PartialCredentialsError,
    )

    kind = Unavailable
    match error:
        case NoCredentialsError() | PartialCredentialsError():
            cause, way_out = "no AWS credentials", "give the instance a role, or this shell AWS credentials"
            kind = UnconfiguredError
        case NoRegionError():
            cause, way_out = "no AWS region", "set AWS_REGION"
            kind = UnconfiguredError
        case _:
            cause, way_out = _describe(error), "see that this machine reaches AWS and run the command again"
    text = f"{failure}: {cause} (for {action})\n  way out: {way_out}"
    return _BusyError(text) if isinstance(error, HTTPClientError) else kind(text)


def _describe(error: BotoCoreError) -> str:
    """What botocore says, without what it says too much: headers that hold credentials, and addresses with logins."""
    from botocore.exceptions import HTTPClientError  # noqa: PLC0415

    if type(error) is HTTPClientError:  # of anything that goes wrong before a request is sent
        return "the request can't be sent; is there a line break in a variable AWS_…?"
    return _short(_LOGIN.sub("//", str(error)))


def _short(text: object) -> str:
    words = harmless(" ".join(str(text).split()))
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"
