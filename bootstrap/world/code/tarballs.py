"""Tarballs in S3 → a service's code, by version.

    <prefix><version>.tar.gz          the files
    <prefix><version>.tar.gz.sha256   their digest, as `sha256sum` prints it
    <prefix>latest                    one line: the version to take where no tag names one

A version that is uploaded again with other content is another version: its digest is part of its name on the box. The
role of the machine needs s3:GetObject on the objects and s3:ListBucket on the bucket; without the latter S3 says
"denied" of what is not there.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from typing import TYPE_CHECKING, Any

from bootstrap.checkout import Finding, Want, want_of
from bootstrap.definition import Code
from bootstrap.errors import DefinitionError, Unavailable
from bootstrap.identity import is_ref
from bootstrap.spelling import quoted
from bootstrap.world import aws, clock
from bootstrap.world.code import apart
from bootstrap.world.code.git_mirror import EmptyError, OutOfReachError
from bootstrap.world.code.tree import DIGEST_IN_NAME

if TYPE_CHECKING:
    from bootstrap.box import Box

LARGEST = 2 * 1024**3  # bytes of a tarball
_LARGEST_TEXT = 1024
_UNPACK_S = 300.0
_CHUNK = 1024 * 1024
_DIGEST = re.compile(r"([0-9a-fA-F]{64})(\s.*)?", re.DOTALL)
_GET = "s3:GetObject"


def find_version(want: Want, deadline: float) -> Finding:
    """The version that is wanted, else the latest. Raises OutOfReachError, DefinitionError for odd contents."""
    client = _open(want, deadline)
    if want.ref is not None:
        digest = _read_digest(client, want, want.ref, deadline)
        if digest is not None:
            return Finding(code=_code(want, want.ref, digest))
    latest = _read_latest(client, want, deadline)
    digest = _read_digest(client, want, latest, deadline)
    if digest is None:
        raise _odd(want, f"{_name(latest)}.sha256", f"it is not there, and latest names version {quoted(latest)}")
    return Finding(code=_code(want, latest, digest), is_missing=want.ref is not None)


def write_version(box: Box, code: Code, directory: str, deadline: float) -> None:
    """Download, compare the digest, unpack. Raises OutOfReachError, DefinitionError for a damaged tarball, OSError."""
    from bootstrap.world.code.unpacking import unpack  # noqa: PLC0415 - brings every compressor there is

    want = want_of(code)
    with tempfile.TemporaryFile(dir=box.mirrors) as file:
        digest = _download(_open(want, deadline), want, code.ref, file, deadline)
        expected = _read_digest(_open(want, deadline), want, code.ref, deadline) or ""
        address = _address(want, _name(code.ref))
        if digest != expected or not code.version.endswith(digest[:DIGEST_IN_NAME]):
            raise DefinitionError(
                f"cannot use tarball {address}: its SHA-256 is {digest}, and {expected} was expected\n"
                f"  where: {address}.sha256\n"
                "  way out: upload both again, the digest last; what ran before still runs"
            )
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        words = f"tarball {address}"
        unpack(file.fileno(), directory, apart.read_stranger(), clock.now() + _UNPACK_S, words)


def _code(want: Want, version: str, digest: str) -> Code:
    return Code(
        service=want.service,
        kind="s3",
        url=want.source.url,
        wanted=want.ref,
        is_own=want.is_own,
        ref=version,
        version=f"{version.replace('/', '_')}-{digest[:DIGEST_IN_NAME]}",
    )


def _name(version: str) -> str:
    return f"{version}.tar.gz"


def _place(want: Want) -> tuple[str, str]:
    """Bucket and prefix; a prefix is a folder whether or not it is written with its slash."""
    bucket, _, prefix = want.source.url.removeprefix("s3://").partition("/")
    return bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""


def _address(want: Want, name: str) -> str:
    bucket, prefix = _place(want)
    return f"s3://{bucket}/{prefix}{name}"


def _open(want: Want, deadline: float) -> Any:
    def make() -> Any:
        return aws.session().client("s3", region_name=aws.read_own_region(), config=aws.config())

    return _call(want, "latest", make, deadline)


def _call(want: Want, name: str, ask: Any, deadline: float) -> Any:
    try:
        patience_s = max(0.0, deadline - clock.now())
        return aws.call(_GET, f"cannot read {_address(want, name)}", ask, patience_s=patience_s)
    except Unavailable as error:
        first, _, rest = str(error).partition("\n")
        raise OutOfReachError(first.partition(": ")[2], rest) from error


def _read_text(client: Any, want: Want, name: str, deadline: float) -> str | None:
    from botocore.exceptions import ClientError  # noqa: PLC0415 - boto3 is dear

    bucket, prefix = _place(want)

    def ask() -> str | None:
        try:
            body = client.get_object(Bucket=bucket, Key=prefix + name)["Body"]
            return str(body.read(_LARGEST_TEXT).decode(errors="replace"))
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                return None
            raise

    found: str | None = _call(want, name, ask, deadline)
    return found


def _read_latest(client: Any, want: Want, deadline: float) -> str:
    text = _read_text(client, want, "latest", deadline)
    if text is None and want.ref is None:
        raise EmptyError("it names no latest version: nothing has been released there")
    if text is None:
        raise _odd(want, "latest", "it is not there")
    version = text.strip()
    if not is_ref(version):
        raise _odd(want, "latest", f"it should be one line that names a version, not {quoted(version)}")
    return version


def _read_digest(client: Any, want: Want, version: str, deadline: float) -> str | None:
    name = f"{_name(version)}.sha256"
    text = _read_text(client, want, name, deadline)
    if text is None:
        return None
    match = _DIGEST.fullmatch(text)
    if match is None:
        raise _odd(want, name, f"it should begin with a SHA-256 of 64 hexadecimal digits, not {quoted(text)}")
    return match[1].lower()


def _odd(want: Want, name: str, cause: str) -> DefinitionError:
    return DefinitionError(
        f"cannot use the source of service {quoted(want.service)}: {_address(want, name)}: {cause}\n"
        "  way out: upload it, or name a version with a tag; what ran before still runs"
    )


def _download(client: Any, want: Want, version: str, file: Any, deadline: float) -> str:
    """Write the tarball to a file; the answer is its SHA-256."""
    bucket, prefix = _place(want)
    name = _name(version)

    def ask() -> str:
        file.seek(0)
        file.truncate()
        digest, size = hashlib.sha256(), 0
        body = client.get_object(Bucket=bucket, Key=prefix + name)["Body"]
        while chunk := body.read(_CHUNK):
            size += len(chunk)
            if size > LARGEST:
                raise _odd(want, name, f"it is larger than {LARGEST} bytes")
            if clock.now() > deadline:
                raise OutOfReachError("it did not arrive in time")
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        return digest.hexdigest()

    found: str = _call(want, name, ask, deadline)
    return found
