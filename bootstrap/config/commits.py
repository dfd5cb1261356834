"""What git tells of the past → commits, and what each did to the files of layers.

Format of the log: ``LOG_FORMAT`` with ``git log --raw -z --no-abbrev``; see git-log(1) "PRETTY FORMATS" and
git-diff-tree(1) "RAW OUTPUT FORMAT". NUL is the one byte that neither a name, nor a subject, nor a path can hold.
"""

from __future__ import annotations

from bootstrap.frozen import dataclass

LOG_FORMAT = "%H%x00%an%x00%aI%x00%s"
ABSENT = "0" * 40
_SUBMODULE = "160000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Who, when, why."""

    id: str
    author: str
    date: str  # RFC 3339
    subject: str

    @property
    def short(self) -> str:
        return self.id[:10]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One file in one commit; a blob is ``ABSENT`` where there was, or is, none."""

    commit: Commit
    path: str
    before: str
    after: str


def parse_log(output: bytes) -> list[Change]:
    """Every change, in the order of the log (newest first)."""
    changes: list[Change] = []
    fields = iter(output.split(b"\0"))
    commit: Commit | None = None
    for field in fields:
        # Behind the message git puts a newline, or for merges an empty field, and one more behind the last change.
        facts = field.removeprefix(b"\n")
        if facts.startswith(b":") and commit is not None:
            changes.append(_parse_change(commit, facts, next(fields, b"")))
        elif facts:
            author, date, subject = (_text(next(fields, b"")) for _ in range(3))
            commit = Commit(id=_text(facts), author=author, date=date, subject=subject)
    return changes


def _parse_change(commit: Commit, facts: bytes, path: bytes) -> Change:
    if facts.startswith(b"::"):
        return _parse_merged(commit, facts, path)
    *modes, before, after, _ = facts.decode().lstrip(":").split(" ")
    return _change(commit, path, modes, [before, after])


def _parse_merged(commit: Commit, facts: bytes, path: bytes) -> Change:
    """A merge that is like none of its parents: `::modes… blobs… status`, one more mode and blob than parents."""
    parents = facts.count(b":", 0, facts.index(b" ")) if b" " in facts else 0
    words = facts.decode().lstrip(":").split(" ")
    return _change(commit, path, words[: parents + 1], words[parents + 1 : 2 * parents + 2])


def _change(commit: Commit, path: bytes, modes: list[str], blobs: list[str]) -> Change:
    """Before is what the first parent has; a submodule is nobody's file."""
    files = [ABSENT if mode == _SUBMODULE else blob for mode, blob in zip(modes, blobs, strict=True)]
    return Change(commit=commit, path=_text(path), before=files[0], after=files[-1])


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")
