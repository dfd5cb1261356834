"""Reminders that wait in the database → reminders that were sent, one at a time.

A job is taken by locking its row and finished by committing, so there may be many workers, no job is done by two of
them, and what a crashed worker held is free again by itself. SIGTERM is kept pending while a job runs and looked at
between jobs: the worker finishes what it began, begins nothing new, and exits 0.
"""

from __future__ import annotations

import os
import signal
import time

import psycopg

STOP = {signal.SIGTERM, signal.SIGINT}
POLL_S = 0.5

TAKE = """
    SELECT reminders.id, title FROM reminders JOIN todos ON todos.id = reminders.todo
    WHERE sent_at IS NULL ORDER BY reminders.id LIMIT 1 FOR UPDATE OF reminders SKIP LOCKED
"""
FINISH = "UPDATE reminders SET sent_at = clock_timestamp(), sent_by = %s WHERE id = %s"


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    while not stop_is_wanted(within_s=0):
        try:
            with psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=3, autocommit=True) as connection:
                work(connection)
                break
        except psycopg.OperationalError as error:
            say(f"the database is out of reach, trying again: {str(error).strip()}")
            if stop_is_wanted(within_s=1):
                break
    say("stopped")


def work(connection: psycopg.Connection) -> None:
    """Send reminders until the worker is asked to stop."""
    say("waiting for reminders")
    sent = True
    while not stop_is_wanted(within_s=0 if sent else POLL_S):
        sent = send_one(connection)


def send_one(connection: psycopg.Connection) -> bool:
    """Whether there was a reminder to send."""
    with connection.transaction():
        job = connection.execute(TAKE).fetchone()
        if job is None:
            return False
        number, title = job
        say(f"sending reminder {number}: {title!r}")
        time.sleep(float(os.environ.get("REMINDER_SECONDS", "3")))  # the slow mail server that every real worker has
        connection.execute(FINISH, [os.environ.get("BOOTSTRAP_PROGRAM", "worker"), number])
    say(f"sent reminder {number}")
    return True


def stop_is_wanted(*, within_s: float) -> bool:
    return signal.sigtimedwait(STOP, within_s) is not None


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
