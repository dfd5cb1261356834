"""Small objects of the state bucket, written so that of several writers one wins and the others know it.

Conditional writes are S3's own (``If-None-Match``, ``If-Match``): 412 says that somebody else was first, 409 that
somebody is at it, 404 that what should be replaced is gone.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from bootstrap.errors import Unavailable
from bootstrap.spelling import quoted
from bootstrap.world import aws

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

_LARGEST = 4 * 1024 * 1024  # bytes; no object of ours is larger, and the answer has to pass through a pipe
_NOTHING = frozenset({"NoSuchKey", "404"})
_LOST = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey", "404"})


def read_object(*, bucket: str, key: str) -> dict[str, str] | None:
    """``{"body", "etag"}``; ``None`` when there is none. Raises Unavailable."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - only with AWS

    client = _client()
    failure = f"cannot read {_named(bucket, key)}"

    def ask() -> dict[str, str] | None:
        try:
            answer = client().get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in _NOTHING:
                return None
            raise
        with answer["Body"] as stream:
            body = stream.read(_LARGEST + 1)
        if len(body) > _LARGEST:
            raise Unavailable(f"{failure}: it is larger than {_LARGEST} bytes\n  way out: remove it")
        return {"body": body.decode(errors="replace"), "etag": answer["ETag"]}

    return aws.call("s3:GetObject", failure, ask, resource=_resource(bucket, key))


def write_object(*, bucket: str, key: str, body: str, etag: str | None = None, only_if: str = "any") -> bool:
    """Write it if there is none (``absent``), if it still has this ``etag``, or in ``any`` case.

    The answer is whether it was written. A write whose answer was lost is tried again, and may then find that it lost
    against itself. Raises Unavailable.
    """
    from botocore.exceptions import ClientError  # noqa: PLC0415 - only with AWS

    client, condition = _client(), _condition(etag, only_if)

    def ask() -> bool:
        try:
            client().put_object(Bucket=bucket, Key=key, Body=body.encode(), ContentType="application/json", **condition)
        except ClientError as error:
            if condition and error.response["Error"]["Code"] in _LOST:
                return False
            raise
        return True

    return aws.call("s3:PutObject", f"cannot write {_named(bucket, key)}", ask, resource=_resource(bucket, key))


def _condition(etag: str | None, only_if: str) -> dict[str, Any]:
    match only_if, etag:
        case "absent", _:
            return {"IfNoneMatch": "*"}
        case "etag", str():
            return {"IfMatch": etag}
        case "any", _:
            return {}
    raise ValueError(only_if, etag)


def _client() -> Callable[[], S3Client]:
    """A bucket tells in which region it is; boto3 follows."""
    return cache(lambda: aws.session().client("s3", region_name=aws.read_own_region(), config=aws.config()))


def _named(bucket: str, key: str) -> str:
    return quoted(f"s3://{bucket}/{key}")


def _resource(bucket: str, key: str) -> str:
    return f"arn:aws:s3:::{bucket}/{key}"
