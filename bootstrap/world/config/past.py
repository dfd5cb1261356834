"""The commits of a configuration → edits of its variables, newest first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bootstrap.config.commits import ABSENT
from bootstrap.config.dotenv_file import parse_dotenv
from bootstrap.config.explanation import MASK
from bootstrap.frozen import dataclass
from bootstrap.reading.problem import FlawedError
from bootstrap.variable import KEY, parse_value
from bootstrap.world.config.revisions import read_repository, survey_working_tree

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from bootstrap.box import Box
    from bootstrap.config.commits import Change

_REFERENCES = ("ssm", "secret")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One variable in one file in one commit, as shown; ``None`` where the file did not set it."""

    commit: str
    author: str
    date: str
    subject: str
    file: str  # relative to the root
    key: str
    before: str | None
    after: str | None


def read_edits(box: Box, key: str | None, *, most: int, reveal: bool) -> Iterator[Edit]:
    """Every edit of a variable, or of all, in the last ``most`` commits; DefinitionError without a repository."""
    repository = read_repository(box)
    config = _escape_glob(repository.prefix)
    names = ("**",) if key is None else (f"**/{key}", *(f"**/{key}.{kind}" for kind in _REFERENCES), "**/.env")
    limit = most if key is None else None  # most commits of a .env are about other keys
    changes = repository.read_changes([f":(glob){config}{name}" for name in names], most=limit)
    blobs = repository.read_blobs(
        blob for change in changes for blob in (change.before, change.after) if blob != ABSENT
    )
    hidden = set() if reveal else _secret_keys(box) | {_key_of(change) for change in changes if _is_reference(change)}
    edits = (edit for change in changes for edit in _edits(change, repository.prefix, blobs, hidden))
    yield from _first_commits((edit for edit in edits if key in {None, edit.key}), most)


def _first_commits(edits: Iterable[Edit], most: int) -> Iterator[Edit]:
    commits: set[str] = set()
    for edit in edits:
        commits.add(edit.commit)
        if len(commits) > most:
            return
        yield edit


def _edits(change: Change, config: str, blobs: Mapping[str, bytes], hidden: Collection[str]) -> Iterator[Edit]:
    before, after = _settings(change, blobs.get(change.before)), _settings(change, blobs.get(change.after))
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield _edit(change, config, name, before.get(name), after.get(name), hidden)


def _edit(
    change: Change, config: str, name: str, before: str | None, after: str | None, hidden: Collection[str]
) -> Edit:
    commit = change.commit
    return Edit(
        commit=commit.id,
        author=commit.author,
        date=commit.date,
        subject=commit.subject,
        file=f"config/{change.path.removeprefix(config)}",
        key=name,
        before=MASK if before is not None and name in hidden else before,
        after=MASK if after is not None and name in hidden else after,
    )


def _settings(change: Change, content: bytes | None) -> Mapping[str, str | None]:
    """What a file of a layer says; nothing for files that are no layer's."""
    if content is None:
        return {}
    name = change.path.rpartition("/")[2]
    if name == ".env":
        try:
            return dict(parse_dotenv(content))
        except FlawedError:
            return {}
    key, dot, kind = name.partition(".")
    if not KEY.fullmatch(key) or (dot and kind not in _REFERENCES):
        return {}
    value = parse_value(content)
    return {key: f"{kind}:{value}" if dot else "(removed)" if value is None else value}


def _escape_glob(path: str) -> str:
    """What stands for itself in a pathspec; see gitglossary(7)."""
    return re.sub(r"([*?[\\])", r"\\\1", path)


def _is_reference(change: Change) -> bool:
    return change.path.endswith(tuple(f".{kind}" for kind in _REFERENCES))


def _key_of(change: Change) -> str:
    return change.path.rpartition("/")[2].partition(".")[0]


def _secret_keys(box: Box) -> set[str]:
    """Every key that any service hides today; what only a service that is gone has hidden can't be told."""
    survey = survey_working_tree(box)
    named = {key for service in survey.catalog.services.values() for key in service.secret}
    return named | {key for one in survey.surveyed for key in one.environment.secret}
