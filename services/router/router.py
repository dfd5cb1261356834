"""The public port → web and api: a reverse proxy that streams both ways.

httpx's transport is used without its client: a client keeps cookies, and one visitor's cookies are not another's.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from html import escape
from typing import TYPE_CHECKING

import httpx
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from starlette.types import Receive, Scope, Send

URLS = {"api": os.environ["API_URL"], "web": os.environ["WEB_URL"]}
TIMEOUT = httpx.Timeout(30, connect=3).as_dict()
upstreams = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=200, keepalive_expiry=4))

# These belong to one connection, not to the message (RFC 9110, 7.6.1); each side has its own.
HOP_BY_HOP = {
    b"connection",
    b"expect",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
# These are written anew: by httpx for the upstream, or by this router from what it knows of the visitor.
REWRITTEN = {b"host", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"}

AWAY = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Away for a moment</title>
<body style="font: 1.1rem/1.5 system-ui; max-width: 34rem; margin: 4rem auto; padding: 0 1rem">
<h1>Away for a moment</h1>
<p>The service <b>{service}</b>, which makes this page, does not answer: {cause}.
It may just be restarting; please try again.</p>
"""


class Forward:
    """The one endpoint, for everything that the router does not answer itself, whatever its method."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with answer_of_upstream(Request(scope, receive)) as response:
                await response(scope, receive, send)
        except ClientDisconnect:
            return  # nobody is left to answer


@asynccontextmanager
async def answer_of_upstream(request: Request) -> AsyncIterator[Response]:
    """The answer, open for streaming; closed afterwards, also when the visitor left in the middle."""
    path: bytes = request.scope["raw_path"]
    if not path.startswith(b"/"):
        yield PlainTextResponse("the request must name a path\n", 400)
        return
    service = "api" if path.startswith(b"/api/") else "web"
    try:
        answer = await upstreams.handle_async_request(outgoing(request, URLS[service]))
    except httpx.TransportError as error:
        cause = str(error) or type(error).__name__
        yield HTMLResponse(AWAY.format(service=service, cause=escape(cause)), 502)
        return
    try:
        response = StreamingResponse(answer.aiter_raw(), answer.status_code)
        response.raw_headers = end_to_end(answer.headers.raw)
        yield response
    finally:
        await answer.aclose()


def outgoing(request: Request, upstream: str) -> httpx.Request:
    """The same request, as the upstream should see it."""
    query: bytes = request.scope["query_string"]
    target: bytes = request.scope["raw_path"] + (b"?" + query if query else b"")
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    headers = [header for header in end_to_end(request.headers.raw) if header[0] not in REWRITTEN]
    return httpx.Request(
        request.method,
        upstream,
        headers=headers + forwarded(request),
        content=request.stream() if has_body else None,
        extensions={"timeout": TIMEOUT, "target": target},  # the target as it came, byte for byte
    )


def forwarded(request: Request) -> list[tuple[bytes, bytes]]:
    """Whom the request came through so far, the nearest last, and what the visitor asked for."""
    nearest = request.client.host if request.client else "unknown"
    through = ", ".join([*request.headers.getlist("x-forwarded-for"), nearest])
    asked_for = request.headers.get("host", "")
    scheme = request.headers.get("x-forwarded-proto", "http")  # a load balancer in front says https
    return [
        (b"x-forwarded-for", through.encode("latin-1")),
        (b"x-forwarded-host", asked_for.encode("latin-1")),
        (b"x-forwarded-proto", scheme.encode("latin-1")),
    ]


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers that are about the message, without those about the connection or named by ``Connection``."""
    lower = [(name.lower(), value) for name, value in headers]
    named = {word.strip().lower() for name, value in lower if name == b"connection" for word in value.split(b",")}
    return [(name, value) for name, value in lower if name not in HOP_BY_HOP | named]


async def healthz(_: Request) -> Response:
    return PlainTextResponse("ok\n")


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    async with upstreams:
        yield


app = Starlette(routes=[Route("/healthz", healthz), Route("/{path:path}", Forward())], lifespan=lifespan)
