"""What git tells of the past → commits, and what each did to the files of layers.

Format of the log: ``LOG_FORMAT`` with ``git log --raw -z --no-abbrev``; see git-log(1) "PRETTY FORMATS" and
git-diff-tree(1) "RAW OUTPUT FORMAT".
"""

from __future__ import annotations

from dataclasses import dataclass

LOG_FORMAT = "%x01%H%x02%an%x02%aI%x02%s"
ABSENT = "0" * 40


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
    for part in output.split(b"\x01")[1:]:
        head, *fields = part.split(b"\0")
        commit = _parse_commit(head)
        # git puts a newline between the message and the first change
        words = [field.lstrip(b"\n") for field in fields if field.lstrip(b"\n")]
        for facts, path in zip(words[::2], words[1::2], strict=False):
            if facts.startswith(b"::"):
                changes.append(_parse_merged(commit, facts, path))
            else:
                _, _, before, after, _ = facts.decode().split(" ")
                changes.append(Change(commit=commit, path=_text(path), before=before, after=after))
    return changes


def _parse_commit(head: bytes) -> Commit:
    id_, author, date, subject = _text(head.rstrip(b"\n")).split("\x02", 3)
    return Commit(id=id_, author=author, date=date, subject=subject)


def _parse_merged(commit: Commit, facts: bytes, path: bytes) -> Change:
    """A merge that is like none of its parents: `::modes… blobs… status`, one more mode and blob than parents."""
    parents = facts.count(b":", 0, facts.index(b" ")) if b" " in facts else 0
    words = facts.decode().lstrip(":").split(" ")
    blobs = words[parents + 1 : 2 * parents + 2]
    return Change(commit=commit, path=_text(path), before=blobs[0], after=blobs[-1])


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")
