"""One PostgreSQL and one set of programs for all tests of the stack that share them."""

from __future__ import annotations

import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from stack_programs import ROOT, Program, command, migrate, review_environment

from support.ports import free_port


@pytest.fixture
def start():
    """Start the process of a service; everything started is ended with the test."""
    yield from starter()


@pytest.fixture(scope="module")
def start_for_all():
    yield from starter()


def starter():
    started = []

    def start(service: str, process: str, *, root: Path = ROOT, wrap: tuple[str, ...] = (), **more: str) -> Program:
        argv = [*wrap, "sh", "-c", command(service, process)]
        program = Program(argv, root / "services" / service, review_environment(service, **more))
        started.append(program)
        return program

    yield start
    for program in reversed(started):
        program.end()


@pytest.fixture(scope="module")
def everybodys():
    """A data directory that any user may enter, as on a box."""
    directory = Path(tempfile.mkdtemp(prefix="stack-", dir="/var/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def database_url(start_for_all, everybodys):
    """A PostgreSQL with the tables of api."""
    port = free_port()
    postgres = start_for_all("db", "postgres", PORT=str(port), BOOTSTRAP_DATA=str(everybodys))
    postgres.wait_for("ready to accept connections")
    env = review_environment("db")
    url = f"postgresql://{env['POSTGRES_USER']}:{env['POSTGRES_PASSWORD']}@127.0.0.1:{port}/{env['POSTGRES_DB']}"
    migrate(url)
    yield url
    postgres.send(signal.SIGINT)
    assert postgres.wait() == 0


@dataclass
class Stack:
    """Where the programs are."""

    router: str
    api: str
    web: str


@pytest.fixture(scope="module")
def stack(start_for_all, database_url):
    ports = {name: str(free_port()) for name in ("router", "web", "api")}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    programs = [
        start_for_all("api", "web", PORT=ports["api"], DATABASE_URL=database_url, BOOTSTRAP_PROGRAM="api-web"),
        start_for_all("web", "web", PORT=ports["web"], API_URL=urls["api"], BOOTSTRAP_PROGRAM="web-web"),
        start_for_all("router", "web", PORT=ports["router"], API_URL=urls["api"], WEB_URL=urls["web"]),
    ]
    for program in programs:
        program.wait_for("Uvicorn running")
    return Stack(**urls)


@pytest.fixture
def sql(database_url):
    """Run one statement on an empty to-do list."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE todos, reminders RESTART IDENTITY")
        yield lambda statement, *values: connection.execute(statement, values)
