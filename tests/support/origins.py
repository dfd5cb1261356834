"""Repositories that services come from, and servers for them: one that works, one that never answers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support import repository
from support.sandbox import Sandbox

SERVICE = """\
source: {{git: '{url}'}}
{extra}
processes:
  web:
    command: 'exec sleep 1000'
    ready: {{alive: 0s}}
    {user}
"""


@contextmanager
def public_sandbox():
    """A sandbox that other users may enter: code is fetched by one of them, and services read it."""
    directory = Path(tempfile.mkdtemp(prefix="bootstrap-test-"))
    directory.chmod(0o755)
    made = PublicSandbox(directory)
    try:
        yield made
    finally:
        made.clean_up()
        shutil.rmtree(directory)


class PublicSandbox(Sandbox):
    def __init__(self, directory):
        super().__init__(directory)
        self.directory = directory
        self.environ["BOOTSTRAP_CREDENTIALS"] = str(directory / "credentials")

    def origin(self, name="api", **files):
        """A repository with one commit on main."""
        path = self.directory / name
        path.mkdir()
        repository.git(path, "init", "-q", "-b", "main")
        push(path, **{"word": "one", **files})
        return path

    def sourced(self, name, url, extra="", user=""):
        """A service whose code comes from there."""
        return self.service(name, SERVICE.format(url=url, extra=extra, user=f"user: {user}" if user else ""))

    def checkout(self, program="api-web"):
        """Where a running program has its working directory."""
        return Path(os.readlink(f"/proc/{self.pids()[program]}/cwd"))

    def code(self, service="api"):
        """The versions that are kept."""
        return sorted(path.name for path in (self.state / "code" / service).iterdir())


def push(path, subject="a commit", **files):
    """Commit files; the answer is the commit's id."""
    for name, content in files.items():
        (path / name).write_text(content)
    return repository.commit(path, subject)


def push_tree(path, *entries):
    """Commit a tree of `mode name content` that no working tree could hold; the answer is the commit's id."""
    lines = []
    for mode, name, content in entries:
        if mode == "160000":
            lines.append(f"160000 commit {content}\t{name}")
            continue
        done = subprocess.run(
            ["git", "-C", path, "hash-object", "-w", "--stdin"],
            input=content,
            capture_output=True,
            text=True,
            env=repository.ENVIRON,
            check=True,
        )
        lines.append(f"{mode} blob {done.stdout.strip()}\t{name}")
    done = subprocess.run(
        ["git", "-C", path, "mktree", "-z"],
        input="\0".join(lines),
        capture_output=True,
        text=True,
        env=repository.ENVIRON,
        check=True,
    )
    commit = repository.git(path, "commit-tree", done.stdout.strip(), "-p", "HEAD", "-m", "odd")
    repository.git(path, "update-ref", "refs/heads/main", commit)
    return commit


@contextmanager
def silent_server():
    """The address of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/api.git"


@contextmanager
def git_server(directory, login=None):
    """git's own server below a directory, over HTTP, for whoever knows the login (`user:password`, in base64)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._serve()

        def do_POST(self):
            self._serve()

        def _serve(self):
            if login is not None and self.headers.get("Authorization") != f"Basic {login}":
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            done = subprocess.run(
                ["git", "http-backend"],
                input=body,
                capture_output=True,
                check=True,
                env={
                    **repository.ENVIRON,
                    "GIT_PROJECT_ROOT": str(directory),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "PATH_INFO": path,
                    "QUERY_STRING": query,
                    "REQUEST_METHOD": self.command,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "CONTENT_LENGTH": str(len(body)),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                },
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            self.send_response(int(headers.pop("Status", "200 OK").split()[0]))
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
