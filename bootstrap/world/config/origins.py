"""Files that set a key → who wrote that, when and why; or that nobody has committed it yet."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bootstrap.config.commits import ABSENT
from bootstrap.config.dotenv_file import find_lines, parse_dotenv
from bootstrap.reading.problem import FlawedError
from bootstrap.world.config.git_repository import open_repository

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bootstrap.box import Box
    from bootstrap.config.commits import Change
    from bootstrap.config.explanation import Origin
    from bootstrap.world.config.git_repository import Repository


def read_origins(box: Box, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Origin]:
    """(file relative to the root, key) → its origin; what is in no repository is left out, and so is what is no file.

    For a line of a ``.env`` it is the commit that wrote the line, for all else the last one that changed the file.
    """
    origins: dict[tuple[str, str], Origin] = {}
    places: dict[str, tuple[Repository, dict[tuple[str, str], str]]] = {}  # by the top of the repository
    files = [(file, key) for file, key in wanted if os.path.isfile(f"{box.root}/{file}")]
    for folder in ("config", "services"):  # each may be a repository of its own
        below = [(file, key) for file, key in files if file.startswith(f"{folder}/")]
        repository = open_repository(f"{box.root}/{folder}") if below else None
        if repository is not None and repository.has_commits():
            _, paths = places.setdefault(repository.top, (repository, {}))
            paths |= {(file, key): repository.prefix + file.removeprefix(f"{folder}/") for file, key in below}
    for repository, paths in places.values():
        origins |= _read_origins(box, repository, paths)
    return origins


def _read_origins(
    box: Box, repository: Repository, paths: Mapping[tuple[str, str], str]
) -> dict[tuple[str, str], Origin]:
    last: dict[str, Change] = {}
    for change in repository.read_changes([f":(literal){path}" for path in dict.fromkeys(paths.values())]):
        last.setdefault(change.path, change)
    committed = repository.read_blobs(change.after for change in last.values() if change.after != ABSENT)
    origins: dict[tuple[str, str], Origin] = {}
    for (file, key), path in paths.items():
        found = last.get(path)
        text = committed.get(found.after) if found is not None else None
        origins[file, key] = _origin(box, repository, file, key, found, text)
    return origins


def _origin(
    box: Box, repository: Repository, file: str, key: str, change: Change | None, committed: bytes | None
) -> Origin:
    if change is None or committed is None:
        return "uncommitted"
    with open(f"{box.root}/{file}", "rb") as opened:
        now = opened.read()
    if not file.endswith("/.env"):
        return change.commit if now == committed else "uncommitted"
    if _value(now, key) != _value(committed, key):
        return "uncommitted"
    lines = find_lines(committed, key)
    if lines is None:
        return change.commit
    blamed = repository.blame_lines(change.path, *lines)
    return next(
        (c.commit for c in repository.read_changes([f":(literal){change.path}"]) if c.commit.id in blamed),
        change.commit,
    )


def _value(content: bytes, key: str) -> str | None:
    try:
        return parse_dotenv(content).get(key)
    except FlawedError:
        return None
