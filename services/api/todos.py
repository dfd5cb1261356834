"""The to-do list as SQL: one function a statement, given an open connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from psycopg import AsyncConnection

Row: TypeAlias = dict[str, Any]
Connection: TypeAlias = "AsyncConnection[Row]"

LIST = """
    SELECT todos.id, title, added_by, todos.added_at, done,
           CASE WHEN reminder.id IS NULL THEN 'none' WHEN sent_at IS NULL THEN 'waiting' ELSE 'sent' END AS reminder,
           sent_by AS reminded_by
    FROM todos
    LEFT JOIN LATERAL (
        SELECT * FROM reminders WHERE reminders.todo = todos.id ORDER BY reminders.id DESC LIMIT 1
    ) AS reminder ON true
    ORDER BY done, todos.id DESC
    LIMIT 200
"""


async def version(connection: Connection) -> str:
    row = await (await connection.execute("SELECT version()")).fetchone()
    return str(row["version"]) if row else ""


async def every(connection: Connection) -> list[Row]:
    """The newest 200, open ones first, each with the state of its latest reminder."""
    return await (await connection.execute(LIST)).fetchall()


async def add(connection: Connection, title: str, added_by: str) -> Row | None:
    cursor = await connection.execute(
        "INSERT INTO todos (title, added_by) VALUES (%s, %s) RETURNING id, title, added_by, added_at, done",
        [title, added_by],
    )
    return await cursor.fetchone()


async def mark_done(connection: Connection, todo: int) -> Row | None:
    cursor = await connection.execute("UPDATE todos SET done = true WHERE id = %s RETURNING id, title, done", [todo])
    return await cursor.fetchone()


async def queue_reminder(connection: Connection, todo: int) -> Row | None:
    """Queue a job for the worker; ``None`` when there is no such to-do."""
    cursor = await connection.execute(
        "INSERT INTO reminders (todo) SELECT id FROM todos WHERE id = %s RETURNING id, todo", [todo]
    )
    return await cursor.fetchone()
