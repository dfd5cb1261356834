"""A revision of the configuration → a survey of it, by the same readers that read the working tree.

A commit's files are laid out in a private directory in memory and removed afterwards. Links and submodules are left
out: nobody follows them in the working tree either.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bootstrap.box import Box
from bootstrap.catalog import Sources, parse_catalog
from bootstrap.config.survey import Survey, all_layer_names, plan_modes, survey_environments
from bootstrap.environ import Layering
from bootstrap.errors import DefinitionError, Refused, Unavailable
from bootstrap.world.config.git_repository import Repository, open_repository
from bootstrap.world.config.layers import read_layers, read_order, read_rules
from bootstrap.world.sources import read_sources

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANY_DEPTH = 4096
_MEMORY = "/dev/shm"  # noqa: S108 - a private directory is made in it


def read_repository(box: Box, purpose: str = "look into the past of") -> Repository:
    """The repository that ``config/`` stands in; raises DefinitionError, which names the purpose, if in none."""
    repository = open_repository(box.config) if os.path.isdir(box.config) else None
    if repository is None:
        raise DefinitionError(
            f'cannot {purpose} "{box.config}": it is in no git repository\n'
            "  way out: git init, and commit what is there"
        )
    if not repository.has_commits():
        raise DefinitionError(
            f'cannot {purpose} "{box.config}": nothing has been committed yet\n  way out: commit what is there'
        )
    return repository


def survey_working_tree(box: Box) -> Survey:
    """What is there now; raises Refused for what can't be read."""
    return _survey(box, box)


def survey_revision(box: Box, repository: Repository, revision: str) -> Survey:
    """What a commit holds; raises Refused for a revision that is not there, or that can't be read."""
    commit = repository.find_commit(revision)
    with _laid_out(box, repository, commit) as old:
        try:
            return _survey(box, old)
        except Refused as error:
            problems = [f"at revision {revision}: {problem}" for problem in error.problems]
            raise DefinitionError(*problems) from error


def _survey(box: Box, tree: Box) -> Survey:
    """``tree`` is where the files stand; what they mean is told as if they stood in ``box``."""
    catalog = parse_catalog(Sources(root=box.root, files=read_sources(tree).files))
    order = read_order(tree)
    plans, _ = plan_modes(catalog)
    layers = read_layers(tree, all_layer_names(plans, order))
    layering = Layering(order=order, layers=layers, rules=read_rules(tree))
    surveyed = tuple(survey_environments(plans, layering, box))
    return Survey(catalog=catalog, plans=tuple(plans), layering=layering, surveyed=surveyed)


@contextmanager
def _laid_out(box: Box, repository: Repository, commit: str) -> Iterator[Box]:
    """The files of a commit, and of the working tree where the definitions are in no, or another, repository."""
    folder = tempfile.mkdtemp(prefix="bootstrap-", dir=_MEMORY if os.path.isdir(_MEMORY) else None)
    try:
        _lay_out(repository, commit, repository.prefix, f"{folder}/config", _ANY_DEPTH)
        above = os.path.dirname(repository.prefix.rstrip("/"))
        services = f"{above}/services/" if above else "services/"
        is_inside = os.path.realpath(box.services).startswith(f"{repository.top}/")
        if is_inside:
            _lay_out(repository, commit, services, f"{folder}/services", 2)  # services/api/service.yaml; not its code
        else:
            os.symlink(os.path.realpath(box.services), f"{folder}/services")
        yield Box(root=folder, state=box.state)
    except OSError as error:
        raise Unavailable(
            f"cannot lay out commit {commit[:10]} in {folder}: {error.strerror}\n"
            "  way out: make room there and run the command again"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lay_out(repository: Repository, commit: str, prefix: str, folder: str, depth: int) -> None:
    os.mkdir(folder, 0o700)
    found, _ = repository.read_tree(commit, prefix)
    entries = [entry for entry in found if entry.path.removeprefix(prefix).count("/") < depth]
    contents = repository.read_blobs(entry.blob for entry in entries)
    made = {folder}
    for entry in entries:
        path = f"{folder}/{entry.path.removeprefix(prefix)}"
        directory = os.path.dirname(path)
        if directory not in made:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            made.add(directory)
        with open(path, "xb") as file:
            file.write(contents[entry.blob])
