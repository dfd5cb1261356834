"""What stands before moto: writes down every call, and refuses, throttles or breaks those that a test names.

Actions are named as IAM does. Calls with the key ``SETUP_KEY`` are a test's own preparations: they pass unseen.
"""

from __future__ import annotations

import io
import json
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

SETUP_KEY = "set-up"
_SCOPE = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
_THROTTLED = {"ec2": ("RequestLimitExceeded", 503), "s3": ("SlowDown", 503), "ssm": ("ThrottlingException", 400)}
_DENIED = {"ec2": "UnauthorizedOperation", "ssm": "AccessDeniedException", "secretsmanager": "AccessDeniedException"}
_JSON = {"ssm", "secretsmanager", "dynamodb"}
_S3 = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
_ROUTE53 = (
    ("POST", r"/2013-04-01/hostedzone/[^/]+/rrset/?", "ChangeResourceRecordSets"),
    ("GET", r"/2013-04-01/hostedzone/[^/]+/rrset/?", "ListResourceRecordSets"),
    ("GET", r"/2013-04-01/hostedzonesbyname", "ListHostedZonesByName"),
    ("GET", r"/2013-04-01/hostedzone/?", "ListHostedZones"),
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call: ``parameters`` are those of the query protocol, ``body`` what others send."""

    action: str
    parameters: dict[str, str]
    path: str = "/"
    body: bytes = b""
    moment: float = field(default_factory=time.monotonic)


@dataclass(kw_only=True)
class _Bucket:
    """As EC2 has it: so many at once, refilled so many a second."""

    per_s: float
    size: float
    held: float
    filled: float

    def take(self) -> bool:
        now = time.monotonic()
        self.held = min(self.size, self.held + (now - self.filled) * self.per_s)
        self.filled = now
        if self.held < 1:
            return False
        self.held -= 1
        return True


class Gate:
    """A WSGI application around another."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._changed = threading.Condition()
        self.forget()

    def forget(self) -> None:
        with self._changed:
            self.calls: list[Call] = []
            self.throttled: list[Call] = []
            self._denied: set[str] = set()
            self._buckets: dict[str, _Bucket] = {}
            self._failures: list[tuple[str, str, int]] = []

    def deny(self, *actions: str) -> None:
        self._denied |= set(actions)

    def allow(self, *actions: str) -> None:
        self._denied -= set(actions)

    def throttle(self, action: str, *, per_s: float, size: float | None = None) -> None:
        size = per_s if size is None else size
        self._buckets[action] = _Bucket(per_s=per_s, size=size, held=size, filled=time.monotonic())

    def fail(self, action: str, code: str, *, status: int = 400, times: int = 1) -> None:
        """The next so many calls of an action end in this error."""
        self._failures += [(action, code, status)] * times

    def actions(self) -> list[str]:
        """What was called, in order; what was throttled, denied or failed included."""
        with self._changed:
            return [call.action for call in self.calls]

    def calls_of(self, action: str) -> list[Call]:
        with self._changed:
            return [call for call in self.calls if call.action == action]

    def wait_for(self, action: str, count: int = 1, patience_s: float = 30.0) -> None:
        """Until an action has been called so often."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: sum(call.action == action for call in self.calls) >= count, patience_s
            )
        assert found, f"waited {patience_s} s in vain for call {count} of {action}: {self.actions()}"

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
        if scope is None or scope[1] == SETUP_KEY:
            return self._application(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        call = _parse_call(scope[3], environ, body)
        error = self._judge(call)
        if error is None:
            return self._application(environ, start_response)
        return _refuse(scope[3], *error, start_response)

    def _judge(self, call: Call) -> tuple[str, int, str] | None:
        service = call.action.partition(":")[0]
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
            failure = next((one for one in self._failures if one[0] == call.action), None)
            if failure is not None:
                self._failures.remove(failure)
                return failure[1], failure[2], "no"
            if call.action in self._denied:
                code = _DENIED.get(service, "AccessDenied")
                return code, 403, f"not authorized to perform: {call.action}"
            bucket = self._buckets.get(call.action)
            if bucket is not None and not bucket.take():
                self.throttled.append(call)
                return (*_THROTTLED.get(service, ("Throttling", 400)), "Rate exceeded")
        return None


def _parse_call(service: str, environ: dict[str, Any], body: bytes) -> Call:
    path = unquote(environ["PATH_INFO"])
    method = environ["REQUEST_METHOD"]
    parameters = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        action = target.rpartition(".")[2]
    elif service == "s3":
        action = _S3[method] if path.strip("/").count("/") else "ListBucket"
    elif service == "route53":
        action = next(name for verb, pattern, name in _ROUTE53 if verb == method and re.fullmatch(pattern, path))
    else:
        parameters |= dict(parse_qsl(body.decode(), keep_blank_values=True))
        action = parameters.pop("Action")
        parameters.pop("Version", None)
    return Call(action=f"{service}:{action}", parameters=parameters, path=path, body=body)


def _refuse(service: str, code: str, status: int, message: str, start_response: Any) -> list[bytes]:
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    if service in _JSON:
        text = json.dumps({"__type": code, "message": message})
    elif service == "ec2":
        text = f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>"
    elif service == "s3":
        text = error
    else:
        text = f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"
    start_response(f"{status} No", [("Content-Type", "text/xml"), ("Content-Length", str(len(text.encode())))])
    return [text.encode()]
