"""HTTP → the to-do list: JSON in, JSON out.

Every request opens its own connection: dear for a busy site, but a database that went away and came back needs no care.
"""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg
import todos
from psycopg.rows import dict_row
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

MAX_BODY = 10_000


async def healthz(_: Request) -> Response:
    async with database() as connection:
        return answer({"status": "ok", "database": await todos.version(connection)})


async def about(_: Request) -> Response:
    async with database() as connection:
        version = await todos.version(connection)
    return answer({"program": os.environ.get("BOOTSTRAP_PROGRAM", "api"), "database": version})


async def list_todos(_: Request) -> Response:
    async with database() as connection:
        return answer({"todos": await todos.every(connection)})


async def add_todo(request: Request) -> Response:
    wanted = await read_object(request)
    title = read_text(wanted, "title", longest=200)
    added_by = read_text(wanted, "added_by", longest=40)
    async with database() as connection:
        return answer(await todos.add(connection, title, added_by), status=201)


async def mark_done(request: Request) -> Response:
    async with database() as connection:
        return answer(await todos.mark_done(connection, read_id(request)))


async def queue_reminder(request: Request) -> Response:
    async with database() as connection:
        return answer(await todos.queue_reminder(connection, read_id(request)), status=202)


@asynccontextmanager
async def database() -> AsyncIterator[todos.Connection]:
    """One connection and one transaction for one request; without a database the answer is 503."""
    try:
        opened = await psycopg.AsyncConnection.connect(
            os.environ["DATABASE_URL"], connect_timeout=3, row_factory=dict_row
        )
        async with opened as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise HTTPException(503, "the database is out of reach") from error


async def read_object(request: Request) -> dict[str, object]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"a to-do has at most {MAX_BODY} bytes")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the body is not JSON") from error
    if not isinstance(value, dict):
        raise HTTPException(400, "the body is not a JSON object")
    return value


def read_text(wanted: dict[str, object], key: str, *, longest: int) -> str:
    value = wanted.get(key)
    text = value.strip() if isinstance(value, str) else ""
    if not 1 <= len(text) <= longest or not is_storable(text):
        raise HTTPException(400, f'"{key}" must be text of 1 to {longest} characters')
    return text


def is_storable(text: str) -> bool:
    """PostgreSQL keeps any text but NUL and half surrogate pairs."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def read_id(request: Request) -> int:
    text: str = request.path_params["todo"]
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise HTTPException(404, "no such to-do")
    return int(text)


def answer(value: object, status: int = 200) -> Response:
    if value is None:
        raise HTTPException(404, "no such to-do")
    return Response(json.dumps(value, default=str), status, media_type="application/json")


def refuse(_: Request, error: Exception) -> Response:
    """Errors are JSON, too."""
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "a bug")
    return JSONResponse({"error": detail}, status)


app = Starlette(
    routes=[
        Route("/healthz", healthz),
        Route("/api/about", about),
        Route("/api/todos", list_todos, methods=["GET"]),
        Route("/api/todos", add_todo, methods=["POST"]),
        Route("/api/todos/{todo}/done", mark_done, methods=["POST"]),
        Route("/api/todos/{todo}/remind", queue_reminder, methods=["POST"]),
    ],
    exception_handlers={HTTPException: refuse, Exception: refuse},
)
