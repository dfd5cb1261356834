"""Repositories that others write to: crafted objects, odd settings and odd words harm nobody and hide nothing."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import zlib
from pathlib import Path

import pytest

from support.repository import begin, commit, git

MASK = "••••••"


def write_object(root, kind, body):
    """Straight into the object store: git itself would refuse to make these."""
    whole = f"{kind} {len(body)}".encode() + b"\0" + body
    name = hashlib.sha1(whole).hexdigest()
    path = root / ".git/objects" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        path.write_bytes(zlib.compress(whole))
    return name


def write_tree(root, *entries):
    return write_object(root, "tree", b"".join(b"%s %s\0" % (m, n) + bytes.fromhex(i) for m, n, i in entries))


def write_commit(root, config):
    """A commit whose config/ is this tree."""
    top = write_tree(
        root, (b"40000", b"config", config), (b"40000", b"services", git(root, "rev-parse", "HEAD:services"))
    )
    who = "Eve <eve@example.com> 1700000000 +0000"
    return write_object(root, "commit", f"tree {top}\nauthor {who}\ncommitter {who}\n\nx\n".encode())


def climbing(root, blob, target):
    tree = write_tree(root, (b"100644", target.name.encode(), blob))
    for part in reversed(target.parent.parts[1:]):
        tree = write_tree(root, (b"40000", part.encode(), tree))
    for _ in range(4):  # /dev/shm/bootstrap-…/config
        tree = write_tree(root, (b"40000", b"..", tree))
    return tree


ODD = {
    "climbs": climbing,
    "slashes": lambda root, blob, target: write_tree(root, (b"100644", f"../../../..{target}".encode(), blob)),
    "twice": lambda root, blob, _: write_tree(root, (b"100644", b"A", blob), (b"100644", b"A", blob)),
    "file and folder": lambda root, blob, _: write_tree(
        root, (b"100644", b"A", blob), (b"40000", b"A", write_tree(root, (b"100644", b"B", blob)))
    ),
    "long": lambda root, blob, _: write_tree(root, (b"100644", b"x" * 300, blob)),
}


@pytest.mark.parametrize("case", ODD)
def test_a_crafted_tree_writes_nothing_anywhere(sandbox, tmp_path, case):
    """As root, a path with ``..`` would be a new file in /etc/cron.d."""
    begin(sandbox)
    target = Path("/tmp") / f"{tmp_path.parent.name}-{tmp_path.name}-evil"
    blob = write_object(sandbox.root, "blob", b"evil\n")
    evil = write_commit(sandbox.root, ODD[case](sandbox.root, blob, target))
    done = sandbox.run("config", "impact", evil, tags=(), code=2)
    assert not target.exists()
    message, way_out = done.stderr.splitlines()
    assert message.startswith(f'error: cannot read commit {evil[:10]}: no working tree can hold its path "config/')
    assert way_out == "  way out: see who made that commit, and with what; git fsck tells more"


def test_an_object_that_is_missing_is_told(sandbox):
    begin(sandbox)
    evil = write_commit(sandbox.root, write_tree(sandbox.root, (b"100644", b"A", "12" * 20)))
    done = sandbox.run("config", "impact", evil, tags=(), code=75)
    assert done.stderr == (
        f"error: cannot read the repository {sandbox.root}: 1 of its files are not here, such as 1212121212\n"
        "  way out: git fetch --refetch --no-filter brings them all; git fsck shows what is damaged\n"
    )


def test_a_partial_clone_says_what_it_lacks_and_fetches_nothing(sandbox, tmp_path):
    """History had nothing to tell, and explain said that nobody had committed the value."""
    begin(sandbox)
    sandbox.config("common/LOG_LEVEL", "debug")
    commit(sandbox.root, "Look closer")
    git(sandbox.root, "config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--filter=blob:none", f"file://{sandbox.root}", str(clone))
    done = sandbox.run("--root", str(clone), "config", "history", "LOG_LEVEL", tags=(), code=75)
    missing = git(sandbox.root, "rev-parse", "HEAD~1:config/common/LOG_LEVEL")
    assert done.stderr == (
        f"error: cannot read the repository {clone}: git cat-file: could not fetch {missing} from promisor remote\n"
        "  way out: mend what git complains about, and run the command again\n"
    )
    words = ("config", "explain", "LOG_LEVEL", "--mode", "review", "--service", "api", "--json")
    assert sandbox.run("--root", str(clone), *words, tags=()).json["layers"][0]["subject"] == "Look closer"


def test_a_submodule_in_the_place_of_a_variable_is_nobodys_file(sandbox):
    begin(sandbox)
    module = write_tree(sandbox.root, (b"160000", b"LOG_LEVEL", "34" * 20))
    odd = write_commit(sandbox.root, write_tree(sandbox.root, (b"40000", b"common", module)))
    git(sandbox.root, "update-ref", "refs/heads/main", odd)
    edits = sandbox.run("config", "history", "--json", tags=()).json["edits"]
    assert edits == []


def test_a_blob_that_nobody_could_hold_in_memory_is_refused_as_a_file_is(sandbox):
    begin(sandbox)
    big = write_object(sandbox.root, "blob", b"x" * (2 * 1024 * 1024))
    common = write_tree(sandbox.root, (b"100644", b"A", big))
    evil = write_commit(sandbox.root, write_tree(sandbox.root, (b"40000", b"common", common)))
    done = sandbox.run("config", "impact", evil, tags=(), code=2)
    assert done.stderr == (
        f'error: at revision {evil}: cannot read variable "A": it is larger than 128 KiB\n'
        "  where: config/common/A\n  way out: make it shorter\n"
    )


SETTINGS = {
    "diff.algorithm": "histogram",
    "diff.context": "5",
    "diff.orderFile": "nowhere",
    "diff.evil.xfuncname": "^[",
    "merge.renameLimit": "7",
    "gpg.format": "ssh",
    "blame.ignoreRevsFile": "nowhere",
    "log.showRoot": "false",
    "log.follow": "true",
    "log.showSignature": "true",
    "i18n.logOutputEncoding": "UTF-16",
    "i18n.commitEncoding": "UTF-16",
    "format.pretty": "oneline",
    "color.ui": "always",
}


def test_settings_of_a_repository_change_no_answer(sandbox):
    """Some of these made every verb fail, hid the first commit, or had names read as UTF-16."""
    begin(sandbox)
    (sandbox.root / "config/common/.env").write_text("DOTTED=1\n")
    first = commit(sandbox.root, "Dotted")
    words = ("config", "list", "--provenance", "--json", "--mode", "review", "--service", "api")
    before = sandbox.run(*words, tags=()).stdout
    assert first in before
    for key, value in SETTINGS.items():
        git(sandbox.root, "config", key, value)
    assert sandbox.run(*words, tags=()).stdout == before
    sandbox.run("config", "set", "A=1", "--common", "-m", "é", tags=())
    assert json.loads(sandbox.run("config", "history", "A", "--json", tags=()).stdout)["edits"][0]["after"] == "1"
    assert git(sandbox.root, "cat-file", "-p", "HEAD").endswith("Set A in common\n\né")


def test_control_characters_of_authors_subjects_and_folders_reach_no_terminal(sandbox):
    """They could also end a field early, and put another author or date in its place."""
    begin(sandbox)
    sandbox.config("common/A", "1")
    commit(sandbox.root, "one\x01two\x02three \x1b]0;owned\x07", author="Eve\x02il\x1b[2J")
    edits = sandbox.run("config", "history", "A", "--json", tags=()).json["edits"]
    assert [(one["author"], one["subject"]) for one in edits] == [
        ("Eve\x02il\x1b[2J", "one\x01two\x02three \x1b]0;owned\x07")
    ]
    sandbox.config("services/api/re\x1b[31m\nview/A", "1")
    commit(sandbox.root, "A folder")
    shown = [
        sandbox.run("config", "history", tags=()).stdout,
        sandbox.run("config", "explain", "A", "--mode", "review", "--service", "api", tags=()).stdout,
        sandbox.run("config", "lint", tags=(), code=1).stdout,
        sandbox.run("config", "lint", "--format", "github", tags=(), code=1).stdout,
    ]
    assert [text for text in shown if not {"\x01", "\x02", "\x07", "\x1b"}.isdisjoint(text)] == []
    assert "  config/services/api/re\\x1b[31m\\x0aview/A  A: (not set) → 1\n" in shown[0]
    assert "error: config/services/api/re\\x1b[31m\\x0aview: no service reads this directory" in shown[2]
    assert "::error file=config/services/api/re\\x1b[31m%0Aview,line=1,title=" in shown[3]


def test_a_repository_that_cannot_be_used_says_why(sandbox, tmp_path):
    begin(sandbox)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    git(sandbox.root, "config", "core.worktree", str(elsewhere))
    done = sandbox.run("config", "impact", tags=(), code=2)
    assert done.stderr == (
        f"error: cannot look into the repository of {sandbox.root}/config: its core.worktree leads elsewhere\n"
        "  way out: git config --unset core.worktree, or work there\n"
    )
    (sandbox.root / ".git/config").write_text("[core\n")
    done = sandbox.run("config", "impact", tags=(), code=2)
    assert done.stderr == (
        f"error: cannot look into the repository of {sandbox.root}/config: git says: bad config line 1 in file "
        ".git/config\n  way out: mend what git complains about\n"
    )


def test_a_secret_that_moves_into_a_store_is_shown_by_neither_diff_nor_history(sandbox):
    """PASSWORD is declared secret; TOKEN is one because a reference stands, or stood, in its place."""
    begin(sandbox)
    sandbox.config("services/api/common/TOKEN", "hunter2-token")
    before = commit(sandbox.root, "In clear text")
    for key in ("PASSWORD", "TOKEN"):
        (sandbox.root / "config/services/api/common" / key).unlink()
        sandbox.config(f"services/api/common/{key}.ssm", f"/todo/{key}")
    commit(sandbox.root, "Into the store")
    document = sandbox.run("config", "diff", before, "--mode", "review", "--json", tags=()).json
    (program,) = document["programs"]
    changes = {change["key"]: change for change in program["changes"]}
    assert [(changes[key]["after"], changes[key]["masked"]) for key in changes] == [
        ("ssm:/todo/PASSWORD", True),
        ("ssm:/todo/TOKEN", True),
    ]
    assert all(change["before"].startswith(f"{MASK} (") for change in changes.values())
    git(sandbox.root, "rm", "-q", "config/services/api/common/TOKEN.ssm")
    commit(sandbox.root, "No token any more")
    shown = [
        sandbox.run("config", "diff", before, "HEAD~1", tags=()).stdout,
        sandbox.run("config", "diff", "HEAD~1", before, tags=()).stdout,
        sandbox.run("config", "history", tags=()).stdout,
        sandbox.run("config", "history", "TOKEN", "--json", tags=()).stdout,
    ]
    assert [text for text in shown if "hunter2" in text] == []
    revealed = sandbox.run("config", "diff", before, "HEAD~1", "--reveal", "--mode", "review", tags=()).stdout
    assert "TOKEN  hunter2-token → ssm:/todo/TOKEN" in revealed


def test_history_counts_only_commits_that_touched_the_key(sandbox):
    begin(sandbox)
    env = sandbox.root / "config/common/.env"
    env.write_text("A=1\nB=0\n")
    first = commit(sandbox.root, "Add A")
    for number in range(1, 4):
        env.write_text(f"A=1\nB={number}\n")
        commit(sandbox.root, f"Raise B to {number}")
    edits = sandbox.run("config", "history", "A", "-n", "2", "--json", tags=()).json["edits"]
    assert [(one["commit"], one["before"], one["after"]) for one in edits] == [(first, None, "1")]
    edits = sandbox.run("config", "history", "B", "-n", "2", "--json", tags=()).json["edits"]
    assert [one["after"] for one in edits] == ["3", "2"]


def state(root):
    """Everything that a failed edit must leave alone."""
    files = {path: path.read_bytes() for path in sorted((root / "config").rglob("*")) if path.is_file()}
    return files, git(root, "rev-parse", "HEAD"), git(root, "status", "--porcelain"), sorted(os.listdir(root / ".git"))


def test_a_set_that_git_refuses_leaves_no_commit_behind(sandbox):
    """Somebody's ``git add`` holds the index: the commit was made all the same, and the tree put back."""
    begin(sandbox)
    (sandbox.root / ".git/index.lock").touch()
    before = state(sandbox.root)
    done = sandbox.run("config", "set", "LOG_LEVEL=debug", "NEW=1", "--common", tags=(), code=75)
    assert done.stderr == (
        f"error: cannot write to the repository {sandbox.root}: git update-index: Unable to create "
        f"'{sandbox.root}/.git/index.lock': File exists.\n"
        "  way out: mend what git complains about, and run the command again\n"
    )
    assert state(sandbox.root) == before


def test_a_branch_that_cannot_move_leaves_the_index_as_it_was(sandbox):
    begin(sandbox)
    (sandbox.root / ".git/refs/heads/main.lock").touch()
    before = state(sandbox.root)
    done = sandbox.run("config", "set", "LOG_LEVEL=debug", "NEW=1", "--common", tags=(), code=75)
    assert done.stderr.startswith(f"error: cannot write to the repository {sandbox.root}: git update-ref: ")
    assert state(sandbox.root) == before


def test_what_somebody_has_staged_of_the_file_is_not_lost(sandbox):
    begin(sandbox)
    sandbox.config("common/LOG_LEVEL", "staged")
    git(sandbox.root, "add", "-A")
    sandbox.config("common/LOG_LEVEL", "info")
    before = state(sandbox.root)
    done = sandbox.run("config", "set", "LOG_LEVEL=debug", "--common", tags=(), code=2)
    assert done.stderr == (
        "error: cannot write config/common/LOG_LEVEL: it has changes that nobody has committed\n"
        "  way out: commit them, or git checkout the file\n"
    )
    assert state(sandbox.root) == before


@pytest.mark.parametrize(
    ("sign", "what"), [("REVERT_HEAD", "revert"), ("sequencer", "cherry-pick or revert"), ("rebase-merge", "rebase")]
)
def test_what_is_under_way_is_not_mixed_up_with_an_edit(sandbox, sign, what):
    begin(sandbox)
    (sandbox.root / ".git" / sign).touch()
    done = sandbox.run("config", "set", "A=1", "--common", tags=(), code=2)
    assert done.stderr == (
        f"error: cannot commit to {sandbox.root}: a {what} is under way\n  way out: finish it, or abort it\n"
    )


def test_edits_at_the_same_time_come_one_after_the_other(sandbox):
    begin(sandbox)
    started = [
        subprocess.Popen(
            sandbox.words("config", "set", f"K{number}={number}", f"LOG_LEVEL={number}", "--common", tags=()),
            env=sandbox.environ, cwd=sandbox.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for number in range(6)
    ]  # fmt: skip
    assert [(process.communicate()[1], process.returncode) for process in started] == [(b"", 0)] * 6
    assert git(sandbox.root, "rev-list", "--count", "HEAD") == "7"
    assert git(sandbox.root, "status", "--porcelain") == ""
    for subject in git(sandbox.root, "log", "-6", "--format=%H %s").splitlines():
        revision, _, keys = subject.partition(" Set ")
        names = git(sandbox.root, "show", "--name-only", "--format=", revision).split()
        assert names == [f"config/common/{key}" for key in keys.removesuffix(" in common").split(", ")]
