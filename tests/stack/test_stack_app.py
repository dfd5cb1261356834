"""The to-do list as its visitors and its operators see it: real programs, real sockets, a real PostgreSQL."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from stack_programs import definition, migrate, review_environment, wait_for_any

from support.ports import free_port


def test_the_page_shows_what_postgresql_holds_escaped_and_says_who_made_it(stack, sql):
    sql("INSERT INTO todos (title, added_by) VALUES (%s, %s)", "Buy <b>milk</b> & bread", "Ada")
    page = httpx.get(f"{stack.router}/")
    assert page.status_code == 200
    assert "Buy &lt;b&gt;milk&lt;/b&gt; &amp; bread" in page.text
    assert "added by Ada" in page.text
    assert "<h1>Hello from a review box</h1>" in page.text
    assert "Mode <b>review</b>, page by <b>web-web</b>, data by <b>api-web</b> from PostgreSQL 1" in page.text


def test_a_visitor_adds_marks_done_and_asks_for_a_reminder(stack, sql):
    added = httpx.post(f"{stack.router}/todos", data={"title": "Täglich grüßen", "added_by": ""})
    assert (added.status_code, added.headers["location"]) == (303, "/")
    reminded = httpx.post(f"{stack.router}/todos/1/remind")
    assert (reminded.status_code, reminded.headers["location"]) == (303, "/")
    page = httpx.get(f"{stack.router}/").text
    assert "Täglich grüßen" in page
    assert "added by somebody · reminder on its way" in page
    done = httpx.post(f"{stack.router}/todos/1/done")
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert sql("SELECT title, added_by, done FROM todos").fetchall() == [("Täglich grüßen", "somebody", True)]
    assert "Mark Täglich grüßen done" not in httpx.get(f"{stack.router}/").text


def test_what_api_refuses_is_refused_on_the_page_in_its_words(stack, sql):
    for form, status, words in [
        ({"title": "  "}, 400, "&#34;title&#34; must be text of 1 to 200 characters."),
        ({"title": "x" * 201}, 400, "&#34;title&#34; must be text of 1 to 200 characters."),
        ({"title": "x" * 20_000}, 413, "that is too long."),
    ]:
        answer = httpx.post(f"{stack.router}/todos", data=form)
        assert answer.status_code == status
        assert f'<p role="alert">That did not work: {words}</p>' in answer.text
    assert httpx.post(f"{stack.router}/todos/7/done").status_code == 404
    assert sql("SELECT count(*) FROM todos").fetchone() == (0,)


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"{", 400, "the body is not JSON"),
        (b"\xff", 400, "the body is not JSON"),
        (b"[1]", 400, "the body is not a JSON object"),
        (b"[" * 9_000, 400, "the body is not JSON"),
        (b'{"title": 7, "added_by": "Ada"}', 400, '"title" must be text of 1 to 200 characters'),
        (b'{"title": "a\\u0000b", "added_by": "Ada"}', 400, '"title" must be text of 1 to 200 characters'),
        (b'{"title": "\\ud800", "added_by": "Ada"}', 400, '"title" must be text of 1 to 200 characters'),
        (b'{"title": "Milk"}', 400, '"added_by" must be text of 1 to 40 characters'),
        (b'{"title": "' + b"x" * 20_000, 413, "a to-do has at most 10000 bytes"),
    ],
)
def test_api_refuses_what_it_cannot_keep(stack, body, status, error):
    answer = httpx.post(f"{stack.router}/api/todos", content=body)
    assert (answer.status_code, answer.json()) == (status, {"error": error})


@pytest.mark.parametrize("todo", ["0", "-1", "x", "9" * 18, "9" * 5_000, "%3f"])
def test_a_todo_that_is_not_there_is_not_found(stack, todo):
    answer = httpx.post(f"{stack.router}/api/todos/{todo}/done")
    assert (answer.status_code, answer.json()) == (404, {"error": "no such to-do"})
    assert httpx.post(f"{stack.router}/todos/{todo}/done").status_code == 404


def test_api_lists_what_was_added(stack, sql):
    added = httpx.post(f"{stack.router}/api/todos", json={"title": "Milk", "added_by": "Ada"})
    assert (added.status_code, added.json()["id"]) == (201, 1)
    queued = httpx.post(f"{stack.router}/api/todos/1/remind")
    assert (queued.status_code, queued.json()) == (202, {"id": 1, "todo": 1})
    [listed] = httpx.get(f"{stack.router}/api/todos").json()["todos"]
    del listed["added_at"]
    assert listed == {
        "id": 1,
        "title": "Milk",
        "added_by": "Ada",
        "done": False,
        "reminder": "waiting",
        "reminded_by": None,
    }


def test_health_of_api_is_the_health_of_its_database(stack, start):
    assert httpx.get(f"{stack.api}/healthz").json()["database"].startswith("PostgreSQL ")
    port, nothing = free_port(), free_port()
    api = start("api", "web", PORT=str(port), DATABASE_URL=f"postgresql://todo:x@127.0.0.1:{nothing}/todo")
    api.wait_for("Uvicorn running")
    answer = httpx.get(f"http://127.0.0.1:{port}/healthz")
    assert (answer.status_code, answer.json()) == (503, {"error": "the database is out of reach"})


def test_without_api_the_page_says_so(start):
    port, nothing = free_port(), free_port()
    web = start("web", "web", PORT=str(port), API_URL=f"http://127.0.0.1:{nothing}")
    web.wait_for("Uvicorn running")
    assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    answer = httpx.get(f"http://127.0.0.1:{port}/")
    assert answer.status_code == 503
    assert "That did not work: the service api does not answer; it may just be restarting." in answer.text


def test_migrations_run_once_also_when_two_boxes_begin_together(database_url, sql):
    assert migrate(database_url) == ""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE fresh")
    fresh = database_url.replace("/todo", "/fresh").replace("//fresh", "//todo")
    with ThreadPoolExecutor() as boxes:
        said = sorted(boxes.map(migrate, [fresh, fresh]))
    assert said == ["", "ran 0001_todos.sql\nran 0002_reminders.sql\n"]


def test_on_term_the_worker_finishes_its_job_takes_no_other_and_exits_0(start, database_url, sql):
    worker = start("api", "worker", DATABASE_URL=database_url, REMINDER_SECONDS="1", BOOTSTRAP_PROGRAM="api-worker")
    worker.wait_for(definition("api")["processes"]["worker"]["ready"]["log"])
    queue(sql, 2)
    worker.wait_for("^sending reminder 1: 'Milk 1'$")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert worker.lines[-2:] == ["sent reminder 1", "stopped"]
    jobs = sql("SELECT id, sent_at IS NOT NULL, sent_by FROM reminders ORDER BY id").fetchall()
    assert jobs == [(1, True, "api-worker"), (2, False, None)]


def test_an_idle_worker_stops_at_once(start, database_url, sql):
    worker = start("api", "worker", DATABASE_URL=database_url)
    worker.wait_for("waiting for reminders")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert worker.lines == ["waiting for reminders", "stopped"]


def test_two_workers_never_take_one_job_twice(start, database_url, sql):
    queue(sql, 20)
    workers = [start("api", "worker", DATABASE_URL=database_url, REMINDER_SECONDS="0.02") for _ in range(2)]
    wait_for_any(workers, "^sent reminder", 20)
    for worker in workers:
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
    taken = [int(line.split()[2].rstrip(":")) for worker in workers for line in worker.said("^sending reminder")]
    assert sorted(taken) == list(range(1, 21))


def test_the_job_of_a_worker_that_was_killed_is_done_by_another(start, database_url, sql):
    slow = start("api", "worker", DATABASE_URL=database_url, REMINDER_SECONDS="600")
    queue(sql, 1)
    slow.wait_for("^sending reminder 1:")
    quick = start("api", "worker", DATABASE_URL=database_url, REMINDER_SECONDS="0")
    queue(sql, 1)
    quick.wait_for("^sent reminder 2$")
    assert not quick.said("reminder 1")
    slow.send(signal.SIGKILL)
    quick.wait_for("^sent reminder 1$")


def test_a_worker_outlives_its_connection(start, database_url, sql):
    worker = start("api", "worker", DATABASE_URL=database_url)
    worker.wait_for("waiting for reminders")
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'todo'")
    worker.wait_for("^the database is out of reach, trying again: ")
    worker.wait_for("waiting for reminders", count=2)


def test_in_review_api_is_configured_for_the_database_that_db_makes():
    db = review_environment("db")
    url = urlsplit(review_environment("api")["DATABASE_URL"])
    assert (url.username, url.password, url.path) == (
        db["POSTGRES_USER"],
        db["POSTGRES_PASSWORD"],
        f"/{db['POSTGRES_DB']}",
    )
    assert (url.hostname, url.port) == ("127.0.0.1", definition("db")["processes"]["postgres"]["port"])


def queue(sql, number: int) -> None:
    """That many to-dos, each with a reminder that waits."""
    sql(
        "WITH added AS (INSERT INTO todos (title, added_by) SELECT 'Milk ' || n, 'Ada' FROM generate_series(1, %s) AS n"
        " RETURNING id) INSERT INTO reminders (todo) SELECT id FROM added ORDER BY id",
        number,
    )
