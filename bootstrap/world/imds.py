"""Instance metadata → what the instance knows about itself (IMDSv2, read with the standard library).

Absent (404) is ``None``; switched off (403), out of reach and nonsense are Unavailable. A refused connection, a timeout
and a 5xx are tried again until the deadline; a 401 gets one new token; nothing else is repeated. No proxy and no
redirect is ever followed, whatever the environment says: metadata is one hop away or it is not metadata.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bootstrap.errors import TagError, Unavailable
from bootstrap.spelling import quoted
from bootstrap.world import clock as house_clock
from bootstrap.world.http import BrokenAnswerError, Connection, TooLongError
from bootstrap.world.retry import retry_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.world.clock import Clock

DMI = "/sys/class/dmi/id"
IPV4 = "http://169.254.169.254"
IPV6 = "http://[fd00:ec2::254]"
_TOKEN_S = 21_600  # the longest life that a token can have
_TOKEN_MARGIN_S = 60
_MOST_BYTES = 65_536  # user data is 16 KiB, a list of 50 tags less
_MOST_PAUSE_S = 2.0
_INSTANCE_ID = re.compile(r"i-[0-9a-f]{8,17}")
_INSTEAD = (
    "\n  way out: give the tags with --tag or --tags-file; AWS_EC2_METADATA_DISABLED=true skips instance metadata"
)


class _PassingError(Exception):
    """An answer, or none, that may be better a moment later; the text is the cause."""


class _TokenRefusedError(Exception):
    """A 401: the token is not, or no longer, good."""


def metadata_endpoint(environ: Mapping[str, str], dmi: str = DMI) -> str | None:
    """Where instance metadata is asked, ``None`` where it must not be; the variables are those of every AWS tool."""
    if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    if endpoint := environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        return endpoint
    if not is_ec2(dmi):
        return None
    return IPV6 if environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "").lower() == "ipv6" else IPV4


def is_ec2(dmi: str) -> bool:
    """Whether the firmware says so. A UUID alone does not do: one laptop in 4096 has one that begins with ``ec2``."""
    facts = {name: _read_fact(f"{dmi}/{name}") for name in ("sys_vendor", "bios_vendor", "board_asset_tag")}
    if "Amazon EC2" in (facts["sys_vendor"], facts["bios_vendor"]) or _INSTANCE_ID.fullmatch(facts["board_asset_tag"]):
        return True
    uuid = _read_fact(f"{dmi}/product_uuid").lower()  # Xen; only root may read it
    return uuid.startswith("ec2") and "amazon" in _read_fact(f"{dmi}/bios_version").lower()


class MetadataService:
    """One keep-alive connection and one token; ``deadline`` (of ``clock``) is when trying again ends."""

    def __init__(self, endpoint: str, *, deadline: float, timeout_s: float = 1.0, clock: Clock = house_clock) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.deadline = deadline
        self.clock = clock
        self._timeout_s = timeout_s
        host, port, self._path = _parse_endpoint(endpoint)
        self._connection = Connection(host, port, timeout_s=timeout_s, most_bytes=_MOST_BYTES, clock=clock)
        self._token: tuple[str, float] | None = None  # and when a new one is due

    def read_instance_id(self) -> str:
        return self._read_certain("meta-data/instance-id")

    def read_region(self) -> str:
        return self._read_certain("meta-data/placement/region")

    def read_address(self) -> str:
        """The private IPv4 address of the first network interface."""
        return self._read_certain("meta-data/local-ipv4")

    def read_tags(self) -> dict[str, str] | None:
        """Every tag of the instance, ``None`` when tags are not allowed in metadata.

        The list and the values are separate requests: a key that vanishes in between has the list read once more.
        """
        for _ in range(2):
            listing = self.read("meta-data/tags/instance")
            if listing is None:
                return None
            read = {key: self.read(_path_of_tag(key)) for key in listing.splitlines() if key}
            tags = {key: value for key, value in read.items() if value is not None}
            if len(tags) == len(read):
                break
        return tags

    def read_time(self) -> float | None:
        """What time it is there, in seconds since 1970; ``None`` where the answers bear no date."""
        from email.utils import parsedate_to_datetime  # noqa: PLC0415 - boots don't ask

        self.read("meta-data/instance-id")
        try:
            return None if self._connection.date is None else parsedate_to_datetime(self._connection.date).timestamp()
        except (ValueError, OverflowError):
            return None

    def read(self, path: str) -> str | None:
        """The item below ``/latest/``; ``None`` when there is none."""
        try:
            return retry_until(
                self.deadline,
                lambda: self._get_with_token(path),
                again_on=_PassingError,
                most_s=_MOST_PAUSE_S,
                clock=self.clock,
            )
        except _PassingError as cause:
            raise self._unavailable(path, str(cause)) from cause

    def close(self) -> None:
        self._connection.close()

    def _read_certain(self, path: str) -> str:
        value = self.read(path)
        if value is None:
            raise self._unavailable(path, "the service does not have it (404)")
        return value

    def _get_with_token(self, path: str) -> str | None:
        try:
            return self._get(path)
        except _TokenRefusedError:
            self._token = None
        try:
            return self._get(path)
        except _TokenRefusedError as error:
            raise self._unavailable(path, "a new token was refused too (401)") from error

    def _get(self, path: str) -> str | None:
        headers = {"X-aws-ec2-metadata-token": self._current_token()}
        status, body = self._exchange("GET", path, headers)
        if status == 200:
            return body.removesuffix("\n")
        if status == 401:
            raise _TokenRefusedError
        if status == 404:
            return None
        raise self._refusal(path, status)

    def _current_token(self) -> str:
        if self._token is not None and self.clock.now() < self._token[1]:
            return self._token[0]
        asked = self.clock.now()
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_S)}
        status, token = self._exchange("PUT", "api/token", headers)
        if status != 200:
            raise self._refusal("api/token", status)
        token = token.strip()
        if not token or not token.isascii() or not token.isprintable():
            raise self._unavailable("api/token", "the answer is no token")
        self._token = (token, asked + _TOKEN_S - _TOKEN_MARGIN_S)
        return token

    def _refusal(self, path: str, status: int) -> Exception:
        if status >= 500 or status == 429:
            return _PassingError(f"it answered {status}")
        if status == 403:
            return self._unavailable(path, "instance metadata is switched off (403)")
        return self._unavailable(path, f"it answered {status}")

    def _exchange(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        try:
            status, body = self._connection.ask(method, f"{self._path}/latest/{path}", headers)
        except TimeoutError as error:
            raise _PassingError(f"no answer within {self._timeout_s:g} s") from error
        except TooLongError as error:
            raise self._unavailable(path, f"the answer is longer than {_MOST_BYTES} bytes") from error
        except (OSError, BrokenAnswerError) as error:
            raise _PassingError(_spoken(error)) from error
        return status, body.decode(errors="replace")

    def _unavailable(self, path: str, cause: str) -> Unavailable:
        return Unavailable(f"cannot read instance metadata {quoted(path)}: {cause}\n  at {self.endpoint}{_INSTEAD}")


def _parse_endpoint(endpoint: str) -> tuple[str, int, str]:
    from urllib.parse import urlsplit  # noqa: PLC0415 - only a boot that asks metadata pays for it

    try:
        parts = urlsplit(endpoint)
        if parts.scheme == "http" and parts.hostname and not parts.query and not parts.fragment:
            return parts.hostname, parts.port or 80, parts.path.rstrip("/")
    except ValueError:
        pass
    raise TagError(
        f"cannot use AWS_EC2_METADATA_SERVICE_ENDPOINT {quoted(endpoint)}: should be like {IPV4}\n"
        "  way out: unset it, or correct it"
    )


def _read_fact(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(256).strip()
    except OSError:
        return ""


def _path_of_tag(key: str) -> str:
    from urllib.parse import quote  # noqa: PLC0415

    return f"meta-data/tags/instance/{quote(key, safe=':@+=,._-')}"


def _spoken(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
