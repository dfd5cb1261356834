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

from bootstrap.checkout import Finding, Want, code_of, want_of
from bootstrap.errors import DefinitionError, Unavailable
from bootstrap.identity import is_ref
from bootstrap.spelling import quoted
from bootstrap.world import aws, clock
from bootstrap.world.code import apart
from bootstrap.world.code.git_mirror import EmptyError, OutOfReachError
from bootstrap.world.code.tree import DIGEST_IN_NAME
from bootstrap.world.ec2 import errands

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from bootstrap.box import Box
    from bootstrap.definition import Code

LARGEST = 2 * 1024**3  # bytes of a tarball
_LARGEST_TEXT = 1024
_UNPACK_S = 300.0
_CHUNK = 1024 * 1024
_MARGIN_S = 10.0
_DIGEST = re.compile(r"([0-9a-fA-F]{64})(\s.*)?", re.DOTALL)
_GET = "s3:GetObject"


def find_version(want: Want, deadline: float) -> Finding:
    """The version that is wanted, else the latest. Raises OutOfReachError, DefinitionError for odd contents."""
    if want.ref is not None:
        digest = _read_digest(want, want.ref, deadline)
        if digest is not None:
            return Finding(code=_code(want, want.ref, digest))
    latest = _read_latest(want, deadline)
    digest = _read_digest(want, latest, deadline)
    if digest is None:
        raise _odd(want, f"{_name(latest)}.sha256", f"it is not there, and latest names version {quoted(latest)}")
    return Finding(code=_code(want, latest, digest), is_missing=want.ref is not None)


def write_version(box: Box, code: Code, directory: str, deadline: float) -> None:
    """Download, compare the digest, unpack. Raises OutOfReachError, DefinitionError for a damaged tarball, OSError."""
    from bootstrap.world.code.unpacking import unpack  # noqa: PLC0415 - brings every compressor there is

    want = want_of(code)
    with tempfile.TemporaryFile(dir=box.mirrors) as file:
        digest = _download(want, code.ref, file.fileno(), deadline)
        expected = _read_digest(want, code.ref, deadline) or ""
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
    return code_of(want, version, f"{version.replace('/', '_')}-{digest[:DIGEST_IN_NAME]}")


def _name(version: str) -> str:
    return f"{version}.tar.gz"


def _place(want: Want) -> tuple[str, str]:
    """Bucket and prefix; a prefix is a folder whether or not it is written with its slash."""
    bucket, _, prefix = want.source.url.removeprefix("s3://").partition("/")
    return bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""


def _address(want: Want, name: str) -> str:
    bucket, prefix = _place(want)
    return f"s3://{bucket}/{prefix}{name}"


def read_text(*, bucket: str, key: str, patience_s: float) -> str | None:
    """The errand that reads a small object, ``None`` if it is not there. Raises Unavailable."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - boto3 is dear

    def ask() -> str | None:
        try:
            body = _client().get_object(Bucket=bucket, Key=key)["Body"]
            return body.read(_LARGEST_TEXT).decode(errors="replace")
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                return None
            raise

    return aws.call(_GET, f"cannot read s3://{bucket}/{key}", ask, patience_s=patience_s)


def download(*, bucket: str, key: str, path: str, patience_s: float) -> tuple[int, str]:
    """The errand that writes an object to a file; the answer is its size, or more than LARGEST, and its SHA-256."""
    deadline = clock.now() + patience_s

    def ask() -> tuple[int, str]:
        digest, size = hashlib.sha256(), 0
        with open(path, "wb") as file:
            body = _client().get_object(Bucket=bucket, Key=key)["Body"]
            while size <= LARGEST and (chunk := body.read(_CHUNK)):
                if clock.now() > deadline:
                    raise Unavailable(f"cannot read s3://{bucket}/{key}: it did not arrive in time")
                size += len(chunk)
                digest.update(chunk)
                file.write(chunk)
        return size, digest.hexdigest()

    return aws.call(_GET, f"cannot read s3://{bucket}/{key}", ask, patience_s=patience_s)


def _client() -> S3Client:
    return aws.session().client("s3", region_name=aws.read_own_region(), config=aws.config())


def _run(errand: str, want: Want, name: str, deadline: float, **more: str) -> Any:
    bucket, prefix = _place(want)
    patience_s = max(0.0, deadline - clock.now())
    try:
        return errands.run(
            errand, timeout_s=patience_s + _MARGIN_S, bucket=bucket, key=prefix + name, patience_s=patience_s, **more
        )
    except Unavailable as error:
        first, _, rest = str(error).partition("\n")
        raise OutOfReachError(first.partition(": ")[2], rest) from error


def _read_latest(want: Want, deadline: float) -> str:
    text: str | None = _run("read-tarball-text", want, "latest", deadline)
    if text is None and want.ref is None:
        raise EmptyError("it names no latest version: nothing has been released there")
    if text is None:
        raise _odd(want, "latest", "it is not there")
    version = text.strip()
    if not is_ref(version):
        raise _odd(want, "latest", f"it should be one line that names a version, not {quoted(version)}")
    return version


def _read_digest(want: Want, version: str, deadline: float) -> str | None:
    name = f"{_name(version)}.sha256"
    text = _run("read-tarball-text", want, name, deadline)
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


def _download(want: Want, version: str, file: int, deadline: float) -> str:
    """Write the tarball to an open file, which has no name; the answer is its SHA-256."""
    name = _name(version)
    size, digest = _run("download-tarball", want, name, deadline, path=f"/proc/{os.getpid()}/fd/{file}")
    if size > LARGEST:
        raise _odd(want, name, f"it is larger than {LARGEST} bytes")
    return str(digest)
