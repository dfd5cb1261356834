"""The definition files below ``services/``, as they stand on disk.

Of a folder its `service.yaml`, else its `Procfile`; else it may be a runit service directory, of which the names of its
files are all that counts. Folders with none of these, dot-folders, `__pycache__` and plain files are nobody's service.
Links and anything that is no regular file are refused without following or waiting for them, and so is a file too big
to be a definition.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from bootstrap.catalog import MODES_FILE, Sources, parse_modes
from bootstrap.errors import DefinitionError
from bootstrap.identity import NAME
from bootstrap.reading.service_directory import EXECUTABLES, FILES
from bootstrap.spelling import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.box import Box
    from bootstrap.definition import Mode

LARGEST = 1024 * 1024
_MODES_NAME = MODES_FILE.removeprefix("services/")
_FILES = ("service.yaml", "Procfile")
_MISSPELT = {
    "service.yaml": "service.yaml",
    "service.yml": "service.yaml",
    "services.yaml": "service.yaml",
    "services.yml": "service.yaml",
    "procfile": "Procfile",
}  # lower case → what is meant
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_sources(box: Box) -> Sources:
    """Read every definition; raises DefinitionError naming all that cannot be read."""
    with _opened(box) as services:
        return Sources(root=box.root, files=_read_all(services))


def read_modes(box: Box) -> dict[str, Mode]:
    """The modes alone, whatever is wrong with the services; raises DefinitionError."""
    files = {}
    with _opened(box) as services, suppress(FileNotFoundError):
        files[MODES_FILE] = read_definition(services, _MODES_NAME, MODES_FILE)
    return parse_modes(Sources(root=box.root, files=files))


@contextmanager
def _opened(box: Box) -> Iterator[int]:
    """The descriptor of services/."""
    try:
        services = os.open(box.services, _FOLDER_FLAGS)
    except OSError as error:
        raise DefinitionError(
            f'cannot read the services folder "{box.services}": {error.strerror}\n'
            "  way out: name the directory that holds services/ and config/ with --root DIR"
        ) from error
    try:
        yield services
    finally:
        os.close(services)


def _read_all(services: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    problems: list[str] = []
    with os.scandir(services) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        try:
            if entry.name == _MODES_NAME:
                files[MODES_FILE] = read_definition(services, entry.name, MODES_FILE)
            elif _may_be_service(entry):
                files |= _read_folder(services, entry.name)
        except DefinitionError as error:
            problems += error.problems
    if problems:
        raise DefinitionError(*problems)
    return files


def _may_be_service(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(".") or entry.name == "__pycache__":
        return False
    if entry.is_symlink() and not entry.is_file():
        raise _refusal(f"services/{entry.name}", "it is a link")
    return entry.is_dir()


def _read_folder(services: int, name: str) -> dict[str, bytes]:
    """The one file that defines the service, if there is one."""
    try:
        folder = os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=services)
    except OSError as error:
        raise _refusal(f"services/{name}", error.strerror) from error
    try:
        for file in _FILES:
            path = f"services/{name}/{file}"
            try:
                content = read_definition(folder, file, path)
            except FileNotFoundError:
                continue
            _refuse_misnamed(name)
            return {path: content}
        found = _read_service_directory(folder)
        if "run" not in found:
            _refuse_misspelt(folder, name)
            return {}
        _refuse_misnamed(name)
        return {f"services/{name}/run": "\n".join(found).encode()}
    finally:
        os.close(folder)


def _read_service_directory(folder: int) -> list[str]:
    """Which files of a runit service directory stand there; what can't be executed is no script."""
    return [
        name for name in FILES if _is_there(folder, name) and (name not in EXECUTABLES or _may_be_run(folder, name))
    ]


def _is_there(folder: int, name: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=folder).st_mode)
    except OSError:
        return False


def _may_be_run(folder: int, name: str) -> bool:
    return bool(os.stat(name, dir_fd=folder).st_mode & 0o111)


def read_definition(folder: int, name: str, path: str) -> bytes:
    """A file in an open folder, ``path`` for messages.

    Raises FileNotFoundError for what is not there, DefinitionError for what cannot be a definition.
    """
    try:
        descriptor = os.open(name, _FILE_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        cause = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise _refusal(path, cause) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _refusal(path, "it is no regular file")
        return _read_whole(descriptor, path)
    finally:
        os.close(descriptor)


def _read_whole(descriptor: int, path: str) -> bytes:
    content = b""
    while chunk := os.read(descriptor, 65536):
        content += chunk
        if len(content) > LARGEST:
            raise _refusal(path, "it is larger than 1 MiB")
    return content


def _refuse_misnamed(name: str) -> None:
    if not NAME.fullmatch(name):
        raise DefinitionError(
            f"cannot read service {quoted(name)}: a service's folder is named with lower-case letters, digits and "
            "hyphens, 63 at most, no hyphen first\n"
            "  way out: rename the folder"
        )


def _refuse_misspelt(folder: int, name: str) -> None:
    """A folder without a definition is nobody's service, unless somebody believes that it has one."""
    for file in sorted(os.listdir(folder)):
        meant = _MISSPELT.get(file.lower())
        if meant is not None:
            raise DefinitionError(
                f"cannot read definition {quoted(f'services/{name}/{file}')}: no definition has this name\n"
                f"  way out: rename it to {meant}"
            )


def _refusal(path: str, cause: str | None) -> DefinitionError:
    return DefinitionError(
        f"cannot read definition {quoted(path)}: {cause}\n"
        "  way out: put a regular file there that bootstrap may read, of 1 MiB at most"
    )
