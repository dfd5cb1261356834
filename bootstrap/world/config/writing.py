"""An edit of one layer → files, and one commit of exactly these; or nothing at all."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bootstrap.catalog import parse_catalog
from bootstrap.config.commits import ABSENT
from bootstrap.config.edited_layer import edit_layer, is_line, render_files
from bootstrap.config.edits import Impact, Outweighed, diff_surveys, find_outweighed
from bootstrap.config.importing import check_target, own_layer
from bootstrap.config.survey import survey_edited
from bootstrap.config.worsening import describe_worsening, find_exposed
from bootstrap.errors import DefinitionError, Locked, Refused
from bootstrap.frozen import dataclass
from bootstrap.spelling import harmless
from bootstrap.world import clock, disk
from bootstrap.world.config.layer_writer import put_back, refuse_foreign, replace_files
from bootstrap.world.config.layers import read_layer, read_order
from bootstrap.world.config.origins import read_origins
from bootstrap.world.config.revisions import read_repository, survey_working_tree
from bootstrap.world.sources import read_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from bootstrap.box import Box
    from bootstrap.config.survey import Survey
    from bootstrap.variable import Layer
    from bootstrap.world.config.git_repository import Repository

_REFERENCES = (".ssm", ".secret")
_PATIENCE_S = 60.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whose layer is meant: one service's in one mode, one service's, one mode's, or (neither) everybody's."""

    service: str | None
    mode: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What an edit did."""

    commit: str | None  # None: the files said so already
    subject: str
    files: tuple[str, ...]  # relative to the root
    impacts: tuple[Impact, ...]
    clear_text: tuple[str, ...]  # keys that are probably secrets
    outweighed: tuple[Outweighed, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A layer as whoever edits it sees it."""

    layer: str  # below config/
    values: Mapping[str, str]  # of its files
    dotenv: tuple[str, ...]  # keys that its .env alone sets
    has_dotenv: bool


class Overtaken(Refused):
    """What an edit began with is no longer what is there."""


def write_keys(
    box: Box,
    target: Target,
    values: Mapping[str, str | None],
    verb: str,
    why: str,
    tell: Callable[[Iterable[Impact]], None],
    shown: Mapping[str, str] | None = None,
) -> Written:
    """Write variables of a layer (``None`` removes one) and commit them; ``tell`` hears the impact before the commit.

    Raises Refused, with the tree as it was, for whatever does not fit; Overtaken when the files of the layer do not say
    what was ``shown`` any more.
    """
    repository = read_repository(box, "commit to")
    name = _find_layer(box, target)
    with _alone(repository):
        branch = _find_branch(box, repository)
        layer = read_layer(box, name)
        if shown is not None:
            _refuse_overtaken(box, repository, name, layer, shown)
        for key, value in values.items():
            _refuse_beside(box, layer, key, value)
        edit = _Edit(name=name, layer=layer, contents=render_files(layer, values), verb=verb, why=why)
        return _write(box, repository, branch, edit, tell)


def read_shown(box: Box, target: Target) -> Shown:
    """What there is to edit; references and the lines of its ``.env`` are left out."""
    name = _find_layer(box, target)
    layer = read_layer(box, name)
    dotenv = tuple(sorted(key for key, setting in layer.settings.items() if is_line(setting)))
    return Shown(layer=name, values=_values(layer), dotenv=dotenv, has_dotenv=bool(dotenv or layer.shadowed))


def _values(layer: Layer) -> dict[str, str]:
    """By key, of the files alone."""
    files = {key: setting.value for key, setting in layer.settings.items() if not is_line(setting)}
    return {key: value for key, value in files.items() if isinstance(value, str)}


def _refuse_overtaken(box: Box, repository: Repository, name: str, layer: Layer, shown: Mapping[str, str]) -> None:
    """Raise Overtaken where somebody was faster than whoever was shown these values."""
    values = _values(layer)
    changed = [key for key in sorted({*values, *shown}) if values.get(key) != shown.get(key)]
    if changed:
        said = ", ".join(f"{key} ({_tell_who(box, repository, f'{name}/{key}', key)})" for key in changed)
        raise Overtaken(
            f"cannot edit {name}: it has changed since you were shown it: {said}\n"
            f"  where: {layer.name}\n  way out: edit it again, as it is now"
        )


def _tell_who(box: Box, repository: Repository, file: str, key: str) -> str:
    """Who has changed, or removed, a file below config/ last, as far as that is committed."""
    path = f"config/{file}"
    origin = read_origins(box, [(path, key)]).get((path, key))
    if origin is None:  # it is gone
        last = next(iter(repository.read_changes([f":(literal){repository.prefix}{file}"])), None)
        origin = last.commit if last is not None and last.after == ABSENT else "uncommitted"
    if origin == "uncommitted":
        return "not committed yet"
    return harmless(f"{origin.short} {origin.author}: {origin.subject}")


def _find_layer(box: Box, target: Target) -> str:
    check_target(parse_catalog(read_sources(box)), target.service, target.mode)
    return own_layer(read_order(box), target.service, target.mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    """What shall be done to a layer."""

    name: str  # below config/
    layer: Layer  # as it is
    contents: Mapping[str, bytes | None]  # by key
    verb: str
    why: str

    @property
    def files(self) -> dict[str, bytes | None]:
        """Contents by path below config/."""
        return {f"{self.name}/{key}": content for key, content in self.contents.items()}

    @property
    def edited(self) -> Layer:
        """The layer as it is going to be."""
        return edit_layer(self.layer, self.contents)

    @property
    def subject(self) -> str:
        return f"{self.verb} {', '.join(self.contents)} in {self.name}"


def _write(
    box: Box, repository: Repository, branch: str, edit: _Edit, tell: Callable[[Iterable[Impact]], None]
) -> Written:
    before = survey_working_tree(box)
    files = edit.files
    old = _refuse_uncommitted(box, repository, files)
    if old == files:
        return Written(commit=None, subject=edit.subject, files=(), impacts=(), clear_text=())
    _refuse_worsening(box, edit, before)
    written = [key for key, content in edit.contents.items() if content is not None]
    try:
        replace_files({f"{box.config}/{file}": content for file, content in files.items()})
        after = survey_working_tree(box)
        impacts = tuple(diff_surveys(before.surveyed, after.surveyed, os.urandom(16)))
        outweighed = tuple(find_outweighed(after.surveyed, edit.layer.name, written))
        tell(impacts)
        message = f"{edit.subject}\n" + (f"\n{edit.why}\n" if edit.why else "")
        tracked = {repository.prefix + file: content for file, content in files.items()}
        commit = repository.commit_files(tracked, message, repository.read_person(), branch)
    except BaseException:
        put_back({f"{box.config}/{file}": content for file, content in old.items()})
        raise
    return Written(
        commit=commit,
        subject=edit.subject,
        files=tuple(f"config/{file}" for file in files),
        impacts=impacts,
        clear_text=tuple(find_exposed(written, edit.edited, before)),
        outweighed=outweighed,
    )


def _refuse_worsening(box: Box, edit: _Edit, before: Survey) -> None:
    """Raise Refused for what ``up`` would not let pass any more."""
    after = survey_edited(before, edit.name, edit.edited, box)
    problems = list(describe_worsening(edit.verb.lower(), edit.contents, before, after))
    if problems:
        raise Refused(*problems)


@contextmanager
def _alone(repository: Repository) -> Iterator[None]:
    """One edit after the other; the kernel lets the next one in, however this one ends. Raises Locked."""
    descriptor = os.open(repository.read_directory(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = clock.now() + _PATIENCE_S
        while not _try_lock(descriptor):
            if clock.now() >= deadline:
                raise Locked(
                    f"cannot commit to {repository.top}: another bootstrap has been at it for {_PATIENCE_S:.0f} s\n"
                    "  way out: let it finish and run the command again"
                )
            clock.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_beside(box: Box, layer: Layer, key: str, value: str | None) -> None:
    """Raise Refused where a reference, or a line of the ``.env``, is what there is of the key."""
    beside = [
        f"{layer.name}/{key}{kind}" for kind in _REFERENCES if os.path.lexists(f"{box.root}/{layer.name}/{key}{kind}")
    ]
    if beside:
        name = beside[0].rpartition("/")[2]
        verb = "unset" if value is None else "set"
        raise Refused(
            f"cannot {verb} {key}: {name} stands there, which refers to a secret\n"
            f"  where: {beside[0]}\n  way out: git rm that file{'' if value is None else ' first'}, or edit it"
        )
    if value is not None or os.path.lexists(f"{box.root}/{layer.name}/{key}"):
        return
    if key in layer.settings:
        raise Refused(
            f"cannot unset {key}: this layer has no file of that name, but a .env that sets it\n"
            f"  where: {layer.name}/.env\n  way out: remove its line there by hand, and commit that"
        )
    raise Refused(
        f"cannot unset {key}: this layer has no file of that name\n"
        f'  where: {layer.name}\n  way out: "bootstrap config explain {key}" shows which layers set it'
    )


def _find_branch(box: Box, repository: Repository) -> str:
    """The branch to commit to. Raises DefinitionError where a commit would be lost, mixed up or somebody else's."""
    owner = os.stat(box.config).st_uid
    if owner != os.geteuid():
        raise DefinitionError(f"cannot write to {box.config}: it belongs to user {owner}\n  way out: run as that user")
    under_way = repository.read_under_way()
    if under_way is not None:
        raise DefinitionError(
            f"cannot commit to {repository.top}: a {under_way} is under way\n  way out: finish it, or abort it"
        )
    branch = repository.read_branch()
    if branch is None:
        raise DefinitionError(
            f"cannot commit to {repository.top}: no branch is checked out, so the commit would be lost\n"
            "  way out: git switch BRANCH"
        )
    return branch


def _refuse_uncommitted(box: Box, repository: Repository, files: Iterable[str]) -> dict[str, bytes | None]:
    """What the files hold; raises DefinitionError unless that is what was committed."""
    entries, _ = repository.read_tree(repository.find_commit("HEAD"), repository.prefix)
    blobs = {entry.path.removeprefix(repository.prefix): entry.blob for entry in entries}
    committed = repository.read_blobs(blobs[file] for file in files if file in blobs)
    refuse_foreign(box, files)
    is_staged = repository.is_staged(repository.prefix + file for file in files)
    found: dict[str, bytes | None] = {}
    for file in files:
        if os.path.isdir(f"{box.config}/{file}"):
            raise DefinitionError(f"cannot write config/{file}: a directory stands there\n  way out: remove it first")
        found[file] = disk.read_if_there(f"{box.config}/{file}")
        if found[file] != (committed.get(blobs[file]) if file in blobs else None) or is_staged:
            way_out = "commit them, or git checkout the file" if file in blobs else "commit it, or remove it"
            raise DefinitionError(
                f"cannot write config/{file}: it has changes that nobody has committed\n  way out: {way_out}"
            )
    return found
