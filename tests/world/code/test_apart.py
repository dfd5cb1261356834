"""Commands that handle what strangers have made can neither hang nor flood us."""

from __future__ import annotations

import subprocess

import pytest

from bootstrap.box import Box
from bootstrap.errors import DefinitionError
from bootstrap.world import clock
from bootstrap.world.code import apart
from bootstrap.world.code.git_mirror import Mirror
from bootstrap.world.code.tree import open_mirrors
from support import repository
from support.origins import public_sandbox

ENVIRON = {"PATH": "/usr/bin:/bin"}


def run(script, seconds=30.0):
    return apart.run(["/bin/sh", "-c", script], ENVIRON, deadline=clock.now() + seconds)


def test_what_it_prints_comes_back_whole():
    done = run("echo out; head -c 300000 /dev/zero >&2; exit 3")
    assert (done.returncode, done.stdout, len(done.stderr)) == (3, b"out\n", 300_000)


@pytest.mark.parametrize("script", ["sleep 1000", "exec >&- 2>&-; sleep 1000"])
def test_one_that_does_not_end_is_ended(script):
    began = clock.now()
    with pytest.raises(apart.LateError):
        run(script, 0.1)
    assert clock.now() < began + 20


@pytest.mark.parametrize("script", ["yes", "yes >&2"])
def test_one_that_prints_without_end_is_ended(monkeypatch, script):
    monkeypatch.setattr(apart, "MOST_BYTES", 100_000)
    with pytest.raises(apart.TooMuchError):
        run(script)


def test_a_tree_of_trees_that_has_a_million_million_files_is_refused(monkeypatch):
    monkeypatch.setattr(apart, "MOST_BYTES", 1_000_000)
    with public_sandbox() as sandbox:
        origin = sandbox.origin()
        tree = repository.git(origin, "rev-parse", "HEAD^{tree}")
        for _ in range(12):
            entries = "".join(f"040000 tree {tree}\t{name}\n" for name in range(10))
            words = ["git", "-C", origin, "mktree"]
            done = subprocess.run(words, input=entries, capture_output=True, text=True, check=True)
            tree = done.stdout.strip()
        commit = repository.git(origin, "commit-tree", "-m", "bomb", tree)
        repository.git(origin, "update-ref", "refs/heads/main", commit)
        box = Box(root=str(sandbox.root), state=str(sandbox.state))
        sandbox.state.mkdir(mode=0o755, exist_ok=True)
        open_mirrors(box)
        mirror = Mirror(box, str(origin), "api", keep=True)
        mirror.fetch("main", clock.now() + 30)
        with pytest.raises(DefinitionError) as caught:
            mirror.write_tree(commit, str(sandbox.directory))
    assert str(caught.value) == (
        f'cannot check out commit {commit[:8]} of service "api": it has more files than can be listed; 1000000 is the '
        f"limit\n  where: {origin}\n  way out: mend it there, or name another ref; what ran before still runs"
    )
