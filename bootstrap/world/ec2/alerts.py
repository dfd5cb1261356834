"""Telling people: an SNS topic, a webhook, a command. All that are given are tried, whatever becomes of the others."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from functools import cache
from typing import TYPE_CHECKING, Any

from bootstrap.errors import Unavailable
from bootstrap.spelling import harmless, quoted
from bootstrap.world import aws

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TIMEOUT_S = 10.0
_COMMAND_S = 30.0
_LONGEST_SUBJECT = 99  # characters; SNS takes fewer than 100, and only ASCII
_LONGEST_QUOTE = 200
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_MOST_BYTES = 65_536  # of what a command says
_NOBODY = 65_534  # user and group, as every Linux has them


def alert(
    *, sns: str | None, webhook: str | None, command: Sequence[str] | None, subject: str, document: Mapping[str, Any]
) -> None:
    """Tell everybody that is given; raises Unavailable with all that went wrong.

    The topic gets ``document`` as JSON under the subject, the webhook a POST of ``{"subject", …document}``, the command
    the same on its standard input, with nobody's rights where we have root's.
    """
    text = json.dumps({"subject": subject, **document}, indent=2, ensure_ascii=False)
    ways: list[Callable[[], None]] = []
    if sns is not None:
        ways.append(lambda: _publish(sns, subject, text))
    if webhook is not None:
        ways.append(lambda: _post(webhook, text))
    if command:
        ways.append(lambda: _run(command, text))
    errors = []
    for way in ways:
        try:
            way()
        except Unavailable as error:
            errors.append(error)
    if errors:
        kind = type(errors[0]) if len(errors) == 1 else Unavailable
        raise kind("\n".join(str(error) for error in errors))


def _publish(topic: str, subject: str, text: str) -> None:
    region = topic.split(":")[3]  # the topic's own
    client = cache(lambda: aws.session().client("sns", region_name=region, config=aws.config()))
    line = "".join(char if " " <= char <= "~" else "?" for char in subject)[:_LONGEST_SUBJECT].strip()
    aws.call(
        "sns:Publish",
        f"cannot publish to SNS topic {quoted(topic)}",
        lambda: client().publish(TopicArn=topic, Subject=line or "bootstrap", Message=text),
        resource=topic,
    )


def _post(address: str, text: str) -> None:
    """The address may hold a token: no message of ours has more of it than the host."""
    from urllib.error import HTTPError, URLError  # noqa: PLC0415 - few boxes ever alert anybody
    from urllib.parse import urlsplit  # noqa: PLC0415
    from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener  # noqa: PLC0415

    class NoRedirect(HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:  # nobody is followed: the answer itself is raised
            return None

    parts = urlsplit(address)
    host = parts.hostname or ""
    is_near = host in _LOOPBACK
    if parts.scheme != "https" and not (parts.scheme == "http" and is_near):
        raise _failed(host, "it is not https", "give an https address")
    handlers = [NoRedirect(), *([ProxyHandler({})] if is_near else [])]
    request = Request(address, text.encode(), {"Content-Type": "application/json", "User-Agent": "bootstrap"})  # noqa: S310 - looked at above
    try:
        with build_opener(*handlers).open(request, timeout=_TIMEOUT_S):
            return
    except HTTPError as error:
        error.close()
        raise _failed(host, f"it answered {error.code}", "see what the other side wants") from None
    except TimeoutError:
        raise _failed(host, f"no answer within {_TIMEOUT_S:g} s", "see that this machine reaches it") from None
    except (URLError, OSError, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        cause = getattr(reason, "strerror", None) or type(reason).__name__
        raise _failed(host, str(cause), "see that this machine reaches it") from None


def _failed(host: str, cause: str, way_out: str) -> Unavailable:
    return Unavailable(f"cannot alert the webhook at {quoted(host)}: {cause}\n  way out: {way_out}")


def _run(words: Sequence[str], text: str) -> None:
    """In our own process group: when this errand is ended, so is the command and all that it has started."""
    failure = f"cannot alert with command {quoted(words[0])}"
    way_out = '  way out: run it by hand as the user "nobody", with JSON on its standard input'
    environ = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    nobody: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": ()}
    with tempfile.TemporaryFile() as output:  # no pipe: whatever the command leaves behind could keep that open
        try:
            done = subprocess.run(
                list(words),
                input=text.encode(),
                stdout=output,
                stderr=output,
                env=environ,
                cwd="/",
                timeout=_COMMAND_S,
                check=False,
                **(nobody if os.geteuid() == 0 else {}),
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{failure}: it did not end within {_COMMAND_S:g} s\n{way_out}") from None
        except OSError as error:
            raise Unavailable(f"{failure}: {error.strerror}\n{way_out}") from error
        if done.returncode != 0:
            output.seek(0)
            raise Unavailable(f"{failure}: it {_describe(done.returncode, output.read(_MOST_BYTES))}\n{way_out}")


def _describe(returncode: int, output: bytes) -> str:
    lines = output.decode(errors="backslashreplace").strip().splitlines()
    said = f": {harmless(lines[-1][:_LONGEST_QUOTE])}" if lines else ""
    how = f"exited with code {returncode}" if returncode > 0 else f"was killed by signal {-returncode}"
    return f"{how}{said}"
