"""A root that is a git repository, as teams have it."""

from __future__ import annotations

import os
import subprocess

ENVIRON = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
}


def git(root, *words, **environ):
    """Run git as Ada would; the answer is what it printed."""
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, env=ENVIRON | environ, check=True
    )
    return done.stdout.strip()


def commit(root, subject, date="2026-01-02T03:04:05Z", author="Ada"):
    """Commit everything; the answer is the id."""
    git(root, "add", "-A")
    git(root, "commit", "-qm", subject, "--allow-empty", GIT_AUTHOR_NAME=author, GIT_AUTHOR_DATE=date)
    return git(root, "rev-parse", "HEAD")


def begin(sandbox):
    """Two services in four modes, and one commit of it all."""
    for name in ("api", "web"):
        sandbox.sleeper(name, extra="secret: [PASSWORD]")
    sandbox.config("common/LOG_LEVEL", "info")
    sandbox.config("services/api/common/PASSWORD", "hunter2-old")
    (sandbox.root / ".gitignore").write_text(".bootstrap\n")
    git(sandbox.root, "init", "-q", "-b", "main")
    return commit(sandbox.root, "Begin")
