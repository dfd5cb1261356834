"""What api says → pages that work without scripts: every button is a form, every form ends in a redirect."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import httpx
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

MAX_FORM = 10_000
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"}

templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
)
api = httpx.AsyncClient(base_url=os.environ["API_URL"], timeout=10, trust_env=False)


async def show_list(_: Request) -> Response:
    listed = await ask("GET", "/api/todos")
    about = await ask("GET", "/api/about")
    return page("list.html", todos=listed["todos"], database=about["database"], api_program=about["program"])


async def add(request: Request) -> Response:
    form = await read_form(request)
    await ask("POST", "/api/todos", {"title": form.get("title", ""), "added_by": form.get("added_by") or "somebody"})
    return RedirectResponse("/", 303)


async def done(request: Request) -> Response:
    await ask("POST", f"/api/todos/{read_id(request)}/done")
    return RedirectResponse("/", 303)


async def remind(request: Request) -> Response:
    await ask("POST", f"/api/todos/{read_id(request)}/remind")
    return RedirectResponse("/", 303)


async def healthz(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def ask(method: str, path: str, value: object = None) -> dict[str, Any]:
    """What api answers; what it refuses is refused here, in its words."""
    try:
        answer = await api.request(method, path, json=value)
        said: dict[str, Any] = answer.json()
    except (httpx.TransportError, ValueError) as error:
        raise HTTPException(503, "the service api does not answer; it may just be restarting") from error
    if answer.is_error:
        raise HTTPException(answer.status_code, said["error"])
    return said


def read_id(request: Request) -> str:
    text: str = request.path_params["todo"]
    if not (text.isascii() and text.isdecimal()):
        raise HTTPException(404, "no such to-do")
    return text


async def read_form(request: Request) -> dict[str, str]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise HTTPException(413, "that is too long")
    return {key: values[0] for key, values in parse_qs(body.decode(errors="replace")).items()}


def page(template: str, status: int = 200, **values: object) -> Response:
    """One page; every page says who made it."""
    html = templates.get_template(template).render(
        greeting=os.environ["GREETING"],
        mode=os.environ.get("BOOTSTRAP_MODE", "no mode"),
        program=os.environ.get("BOOTSTRAP_PROGRAM", "web"),
        **values,
    )
    return HTMLResponse(html, status, HEADERS)


def refuse(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return page("error.html", error.status_code, problem=error.detail)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    async with api:
        yield


app = Starlette(
    routes=[
        Route("/", show_list),
        Route("/healthz", healthz),
        Route("/todos", add, methods=["POST"]),
        Route("/todos/{todo}/done", done, methods=["POST"]),
        Route("/todos/{todo}/remind", remind, methods=["POST"]),
    ],
    exception_handlers={HTTPException: refuse},
    lifespan=lifespan,
)
