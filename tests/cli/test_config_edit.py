"""`config edit`: what was typed is used or kept, and nobody is overtaken unseen."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from support.repository import begin, commit, git
from support.sandbox import wait_until

KEPT = re.compile(r"what you typed is in (\S+)\n")


@pytest.fixture
def edit(sandbox, tmp_path):
    """Run `config edit` with a line of sh as the editor, whose $1 is the file; the answer is what came of it."""

    def run(line, *words, code=0, **environ):
        return sandbox.run(
            "config", "edit", *(words or ("--common", "--yes")), tags=(), code=code,
            environ={"EDITOR": script(tmp_path, line), **environ},
        )  # fmt: skip

    return run


def script(folder, line):
    editor = folder / "editor"
    editor.write_text(f"#!/bin/sh\n{line}\n")
    editor.chmod(0o755)
    return str(editor)


def taken(text):
    """The path of what was kept, what it holds and who may read it; it is removed."""
    path = Path(KEPT.search(text)[1])
    found = path, path.read_text(), stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)
    shutil.rmtree(path.parent)
    return found


def head_of(sandbox):
    return git(sandbox.root, "rev-parse", "HEAD"), git(sandbox.root, "status", "--porcelain")


REFUSED = {
    "a bad line": (
        "NEW=1\nnot a line\n", 2,
        "error: your edit of common:4: should be like KEY=value\n  way out: correct that; what you typed is in {path}\n",
    ),
    "a value that no file holds": (
        'NEW="x "\n', 2,
        ("error: cannot set NEW: a layer file loses blanks and tabs at its end\n"
        '  way out: write NEW="…" with its quotes into config/common/.env by hand; then commit it; '
        "what you typed is in {path}\n"),
    ),
    "text that is none": (
        "NEW=\\377\n", 2,
        "error: your edit of common:3: is not valid UTF-8\n  way out: correct that; what you typed is in {path}\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_was_typed_and_cannot_be_written_is_kept_and_named(sandbox, edit, case):
    begin(sandbox)
    typed, code, message = REFUSED[case]
    before = head_of(sandbox)
    done = edit(f'printf \'{typed}\' >> "$1"; chmod 666 "$1"'.replace("\n", "\\n"), code=code)
    path = Path(KEPT.search(done.stderr)[1])
    content = path.read_bytes()
    assert content.endswith(typed.replace("\\377", "\377").encode("latin-1", "replace"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    shutil.rmtree(path.parent)
    assert done.stderr == message.format(path=path)
    assert head_of(sandbox) == before


def test_what_the_schema_does_not_allow_is_refused_and_kept_too(sandbox, edit):
    begin(sandbox)
    sandbox.config("schema.yaml", "LOG_LEVEL: {required: true, allowed: [info, debug]}")
    commit(sandbox.root, "A schema")
    done = edit('sed -i s/info/loud/ "$1"', code=2)
    path, *_ = taken(done.stderr)
    everywhere = "development, review, staging, production"
    assert done.stderr == (
        f"error: cannot edit LOG_LEVEL: it should be one of debug, info, and would not be in {everywhere}\n"
        "  where: config/common/LOG_LEVEL (config/schema.yaml:1)\n"
        f"  way out: give it such a value, or change the rule first; what you typed is in {path}\n"
    )
    assert git(sandbox.root, "status", "--porcelain") == ""


def test_what_an_editor_has_saved_before_it_failed_is_kept(sandbox, edit):
    begin(sandbox)
    done = edit('echo NEW=1 >> "$1"; exit 1', code=2)
    path, content, *modes = taken(done.stderr)
    assert (content.splitlines()[-1], modes) == ("NEW=1", [0o600, 0o700])
    assert done.stderr.endswith(
        f"nothing has been written\n  way out: name one that works in $VISUAL or $EDITOR; what you typed is in {path}\n"
    )


def test_whoever_hangs_up_when_asked_keeps_what_was_typed(sandbox, edit):
    begin(sandbox)
    done = edit('echo NEW=1 >> "$1"', "--common", code=130)
    _, content, *_ = taken(done.stderr)
    assert content.splitlines()[-1] == "NEW=1"


@pytest.mark.parametrize("line", ['echo NEW=1 >> "$1"', "true", 'echo "# a thought" >> "$1"', 'rm "$1"', "exit 1"])
def test_nothing_stays_when_nothing_typed_is_left(sandbox, edit, line, tmp_path):
    begin(sandbox)
    edit(f'echo "$1" > {tmp_path}/path; {line}', code=2 if line == "exit 1" else 0)
    assert not Path((tmp_path / "path").read_text().strip()).parent.exists()


def test_on_a_terminal_the_editor_opens_again_on_the_same_text(sandbox, tmp_path):
    """Everything that was typed was lost with the first wrong line."""
    begin(sandbox)
    line = 'if grep -q wrong "$1"; then sed -i "s/wrong line/NEW=1/" "$1"; else echo "wrong line" >> "$1"; fi'
    ours, theirs = os.openpty()
    environ = {**sandbox.environ, "TERM": "dumb", "EDITOR": script(tmp_path, line)}
    words = sandbox.words("config", "edit", "--common", "--yes", tags=())
    running = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=sandbox.root)
    os.close(theirs)
    seen = b""
    while b"[Y/n]: " not in seen:
        seen += os.read(ours, 65536)
    os.write(ours, b"\n")
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # EIO: all that was written has been read
        pass
    os.close(ours)
    assert running.wait(60) == 0, seen
    shown = seen.decode().replace("\r\n", "\n")
    assert shown.startswith(
        "error: your edit of common:3: should be like KEY=value\nopen the editor again? [Y/n]: \n+ NEW\n"
    )
    assert (sandbox.root / "config/common/NEW").read_text() == "1\n"


def test_the_head_names_the_dotenv_file_and_the_keys_that_it_alone_sets(sandbox, edit, tmp_path):
    begin(sandbox)
    sandbox.config("common/.env", "BASE=1\nLOG_LEVEL=below\nOTHER=2")
    commit(sandbox.root, "Below")
    edit(f'cp "$1" {tmp_path}/seen')
    assert (tmp_path / "seen").read_text() == (
        '# common: one KEY="value" a line, as in a .env file. What you remove is unset; references are not shown.\n'
        "# config/common/.env lies under these files, and it alone sets BASE, OTHER; edit it by hand.\n"
        'LOG_LEVEL="info"\n'
    )
    (sandbox.root / "config/common/.env").write_text("LOG_LEVEL=below\n")
    edit(f'cp "$1" {tmp_path}/seen')
    assert (tmp_path / "seen").read_text().splitlines()[1] == (
        "# config/common/.env lies under these files; edit it by hand."
    )


def test_who_was_faster_is_told_and_not_overwritten(sandbox, edit):
    """The last to close the editor won."""
    begin(sandbox)
    sandbox.config("common/GONE", "1")
    sandbox.config("common/LEFT", "1")
    commit(sandbox.root, "Two more")
    faster = sandbox.root.parent / "faster"
    faster.write_text(
        f"cd {sandbox.root}\n"
        "echo debug > config/common/LOG_LEVEL; git rm -q config/common/GONE; git add -A\n"
        "git -c user.name=Grace -c user.email=g@example.com commit -qm 'Say more'\n"
        "rm config/common/LEFT; echo 1 > config/common/NEW\n"
    )
    done = edit(f'sed -i s/info/error/ "$1"; sh {faster}', code=2, HOME="/nonexistent")
    path, content, *_ = taken(done.stderr)
    short = git(sandbox.root, "rev-parse", "HEAD")[:10]
    assert done.stderr == (
        "error: cannot edit common: it has changed since you were shown it: "
        f"GONE ({short} Grace: Say more), LEFT (not committed yet), LOG_LEVEL ({short} Grace: Say more), "
        "NEW (not committed yet)\n"
        "  where: config/common\n"
        f"  way out: edit it again, as it is now; what you typed is in {path}\n"
    )
    assert 'LOG_LEVEL="error"' in content
    assert (sandbox.root / "config/common/LOG_LEVEL").read_text() == "debug\n"


def test_two_editors_at_once_do_not_overwrite_each_other(sandbox, tmp_path):
    begin(sandbox)
    running = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        line = f'touch {folder}/open; until [ -e {tmp_path}/go ]; do sleep 0.05; done; sed -i s/info/{name}/ "$1"'
        running.append(
            subprocess.Popen(
                sandbox.words("config", "edit", "--common", "--yes", tags=()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=sandbox.root,
                env={**sandbox.environ, "EDITOR": script(folder, line)},
            )
        )
        wait_until((folder / "open").exists, "the editor")
    (tmp_path / "go").touch()
    told = [one.communicate(timeout=60)[1] for one in running]
    assert sorted(one.returncode for one in running) == [0, 2]
    loser = next(text for text in told if text)
    assert loser.startswith("error: cannot edit common: it has changed since you were shown it: LOG_LEVEL (")
    taken(loser)
