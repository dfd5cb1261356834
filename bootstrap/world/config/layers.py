"""``config/`` on disk → layers.

A directory holds one file per variable, read as ``chpst -e`` reads it, and perhaps a ``.env``, which is weaker. Other
dotfiles and directories are nobody's variable. ``NAME.ssm`` and ``NAME.secret`` hold references. What chpst would
follow, wait for or pass on unseen is refused instead: links, FIFOs and devices, names that no shell can use, files too
big for any environment. A directory that is not there is an empty layer.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

from bootstrap.environ import Layering, layer_names
from bootstrap.errors import DefinitionError
from bootstrap.frozen import dataclass
from bootstrap.reading.problem import FlawedError, Problem, render_problems
from bootstrap.spelling import quoted
from bootstrap.variable import KEY, LONGEST, Layer, Reference, Setting, is_reserved, is_too_long, parse_value

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from bootstrap.box import Box
    from bootstrap.config.box_settings import BoxSettings
    from bootstrap.config.layer_order import LayersFile
    from bootstrap.plan import Plan
    from bootstrap.rules import Rule

T = TypeVar("T")
ORDER = ("common", "modes/{mode}", "services/{service}/common", "services/{service}/{mode}")
_ORDER_FILE = "layers.yaml"
_RULES_FILE = "schema.yaml"
_BOX_FILE = "box.yaml"
_LONGEST_YAML = 1024 * 1024
_DOTENV = ".env"
_LONGEST_DOTENV = 1024 * 1024
_KINDS: dict[str, Literal["ssm", "secret"]] = {"ssm": "ssm", "secret": "secret"}
_STORES = {"ssm": "name of an SSM parameter", "secret": "id of a secret in Secrets Manager"}
_IRREGULAR = "it is no regular file"
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _UnfitError(Exception):
    """A file that cannot be what its name says."""

    def __init__(self, cause: str, way_out: str = "put a regular file there") -> None:
        super().__init__(cause, way_out)
        self.cause = cause
        self.way_out = way_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """Something in a layer that cannot be what its name says; ``message`` is all of it, as errors tell it."""

    file: str
    line: int | None
    cause: str
    way_out: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """One layer as far as it can be read, and all that is wrong with it."""

    layer: Layer
    unfit: tuple[Unfit, ...] = ()
    cut: tuple[str, ...] = ()  # files that hold more than the one line that counts
    dotenvs: tuple[str, ...] = ()  # such as .env.local, which nobody reads


def read_layering(box: Box, plan: Plan) -> Layering:
    """The layers that this plan's environments are made from; raises DefinitionError with all problems."""
    order, rules = read_order(box), read_rules(box)
    names = (name for program in plan.programs for name in layer_names(program, plan.identity.mode, order))
    return Layering(order=order, layers=read_layers(box, names), rules=rules)


def read_order(box: Box) -> tuple[str, ...]:
    """What ``config/layers.yaml`` says, or the built-in order; raises DefinitionError."""
    found = read_layers_file(box)
    return ORDER if found is None else found.order


def read_layers_file(box: Box) -> LayersFile | None:
    """All that ``config/layers.yaml`` says; raises DefinitionError."""
    content = _read_yaml(box, _ORDER_FILE, "the order of layers")
    if content is None:
        return None
    from bootstrap.config.layer_order import parse_layers_file  # noqa: PLC0415 - few roots have this file

    return _parse(_ORDER_FILE, content, parse_layers_file)


def read_rules(box: Box) -> Mapping[str, Rule]:
    """What ``config/schema.yaml`` says about keys; raises DefinitionError."""
    content = _read_yaml(box, _RULES_FILE, "the schema of variables")
    if content is None:
        return {}
    from bootstrap.rules import parse_rules  # noqa: PLC0415 - few roots have this file

    return _parse(_RULES_FILE, content, parse_rules)


def read_box_settings(box: Box) -> BoxSettings:
    """What ``config/box.yaml`` says; raises DefinitionError."""
    from bootstrap.config.box_settings import BoxSettings, parse_box_settings  # noqa: PLC0415 - few roots have this file

    content = _read_yaml(box, _BOX_FILE, "the settings of boxes")
    return BoxSettings() if content is None else _parse(_BOX_FILE, content, parse_box_settings)


def read_layers(box: Box, names: Iterable[str]) -> dict[str, Layer]:
    """Each directory below config/, read once; raises DefinitionError with the problems of all of them."""
    inspected = inspect_layers(box, names)
    problems = [unfit.message for one in inspected.values() for unfit in one.unfit]
    if problems:
        raise DefinitionError(*dict.fromkeys(problems))
    return {name: one.layer for name, one in inspected.items()}


def read_envdir(path: str, without: Collection[str] = ()) -> Layer:
    """A directory anywhere, read as a layer is; raises DefinitionError with all its problems.

    What bootstrap alone sets is no problem where the caller goes ``without`` it.
    """
    try:
        descriptor = os.open(path, _FOLDER_FLAGS)
    except OSError as error:
        raise DefinitionError(_refused_layer(path, str(error.strerror)).message) from None
    try:
        inspected = _Reading(descriptor, path, without).read()
    finally:
        os.close(descriptor)
    if inspected.unfit:
        raise DefinitionError(*(unfit.message for unfit in inspected.unfit))
    return inspected.layer


def inspect_layers(box: Box, names: Iterable[str]) -> dict[str, Inspected]:
    """Each directory below config/, as far as it can be read; raises DefinitionError for config/ itself."""
    with _opened_config(box) as config:
        return {name: _read_below(config, name) for name in dict.fromkeys(names)}


def read_layer(box: Box, directory: str) -> Layer:
    """One directory below config/; raises DefinitionError with all its problems."""
    return read_layers(box, [directory])[directory]


@contextmanager
def _opened_config(box: Box) -> Iterator[int | None]:
    try:
        config = os.open(box.config, _FOLDER_FLAGS)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise DefinitionError(_refused_layer("config", str(error.strerror)).message) from None
    try:
        yield config
    finally:
        os.close(config)


def _read_yaml(box: Box, name: str, what: str) -> bytes | None:
    try:
        with _opened_config(box) as config:
            return None if config is None else _read_file(config, name, _LONGEST_YAML)
    except FileNotFoundError:
        return None
    except _UnfitError as unfit:
        raise DefinitionError(
            f"cannot read {what}: {unfit.cause}\n  where: config/{name}\n  way out: {unfit.way_out}"
        ) from None


def _parse(name: str, content: bytes, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(content)
    except FlawedError as flaw:
        raise DefinitionError(*render_problems(f"config/{name}", flaw.problems)) from None


def _read_below(config: int | None, name: str) -> Inspected:
    where = f"config/{name}"
    try:
        descriptor = None if config is None else _open_layer(config, name)
    except _UnreadableError as error:
        return Inspected(layer=Layer(name=where, settings={}), unfit=(error.unfit,))
    if descriptor is None:
        return Inspected(layer=Layer(name=where, settings={}))
    try:
        return _Reading(descriptor, where).read()
    finally:
        os.close(descriptor)


def _open_layer(config: int, name: str) -> int | None:
    """Part by part, so that no link is followed on the way; ``None`` for a directory that is not there."""
    above, path = config, "config"
    for part in name.split("/"):
        path = f"{path}/{part}"
        try:
            below = _open_folder(above, part, path)
        finally:
            if above != config:
                os.close(above)
        if below is None:
            return None
        above = below
    return above


def _open_folder(above: int, part: str, path: str) -> int | None:
    try:
        return os.open(part, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=above)
    except FileNotFoundError:
        return None
    except OSError as error:
        cause = "it is no directory" if error.errno == errno.ENOTDIR else str(error.strerror)
        raise _UnreadableError(_refused_layer(path, _link(above, part) or cause)) from None


class _UnreadableError(Exception):
    """A whole layer cannot be read."""

    def __init__(self, unfit: Unfit) -> None:
        super().__init__(unfit.message)
        self.unfit = unfit


def _refused_layer(path: str, cause: str) -> Unfit:
    way_out = "make it a directory that bootstrap may read, one file per variable, or remove it"
    return Unfit(
        file=path,
        line=None,
        cause=cause,
        way_out=way_out,
        message=f"cannot read layer {quoted(path)}: {cause}\n  way out: {way_out}",
    )


class _Reading:
    """One directory that is being read, and everything wrong with it."""

    def __init__(self, descriptor: int, where: str, tolerated: Collection[str] = ()) -> None:
        self._descriptor = descriptor
        self._tolerated = tolerated  # of what bootstrap alone sets
        self._where = where
        self._unfit: list[Unfit] = []
        self._cut: list[str] = []
        self._dotenvs: list[str] = []
        self._files: dict[str, str] = {}  # key → the file that sets it

    def read(self) -> Inspected:
        try:
            files = self._list()
        except _UnreadableError as error:
            return Inspected(layer=Layer(name=self._where, settings={}), unfit=(error.unfit,))
        settings: dict[str, Setting] = {}
        for file in files:
            try:
                key, setting = self._read_setting(file)
            except (FileNotFoundError, IsADirectoryError):
                continue  # it has just been removed
            except _UnfitError as unfit:
                self._refuse(file, unfit)
            else:
                settings[key] = setting
        weaker = self._read_dotenv()
        shadowed = {key: setting for key, setting in weaker.items() if key in settings}
        layer = Layer(name=self._where, settings=weaker | settings, shadowed=shadowed)
        return Inspected(layer=layer, unfit=tuple(self._unfit), cut=tuple(self._cut), dotenvs=tuple(self._dotenvs))

    def _list(self) -> list[str]:
        try:
            with os.scandir(self._descriptor) as entries:
                files = sorted(entry.name for entry in entries if not entry.is_dir(follow_symlinks=False))
        except OSError as error:
            raise _UnreadableError(_refused_layer(self._where, str(error.strerror))) from None
        self._dotenvs = [f"{self._where}/{file}" for file in files if file.startswith(f"{_DOTENV}.")]
        return [file for file in files if file[0] != "."]

    def _read_setting(self, file: str) -> tuple[str, Setting]:
        key, dot, kind = file.partition(".")
        if not KEY.fullmatch(key) or (dot and kind not in _KINDS):
            raise _misnamed(file)
        if is_reserved(key) and key not in self._tolerated:
            raise _UnfitError(f"{key} is set by bootstrap alone", "give the variable another name")
        other = self._files.setdefault(key, file)
        if other != file:
            raise _UnfitError(f"{other} stands beside it", "keep one of the two")
        content = _read_file(self._descriptor, file, LONGEST)
        if content.find(b"\n", 0, -1) >= 0:
            self._cut.append(f"{self._where}/{file}")
        value = parse_value(content)
        if dot:
            return key, Setting(value=_parse_reference(_KINDS[kind], value), file=f"{self._where}/{file}")
        if value is not None and is_too_long(key, value):
            raise _too_large(LONGEST)
        return key, Setting(value=value, file=f"{self._where}/{file}")

    def _read_dotenv(self) -> dict[str, Setting]:
        try:
            content = _read_file(self._descriptor, _DOTENV, _LONGEST_DOTENV)
        except (FileNotFoundError, IsADirectoryError):
            return {}
        except _UnfitError as unfit:
            self._refuse(_DOTENV, unfit)
            return {}
        from bootstrap.config.dotenv_file import parse_dotenv  # noqa: PLC0415 - slow, and few layers have such a file

        file = f"{self._where}/{_DOTENV}"
        try:
            values = parse_dotenv(content)
        except FlawedError as flaw:
            self._unfit += [_wrong_line(file, problem) for problem in flaw.problems]
            return {}
        return {key: Setting(value=value, file=file) for key, value in values.items()}

    def _refuse(self, file: str, unfit: _UnfitError) -> None:
        shown = quoted(file)
        where = f"{self._where}/{shown[1:-1]}"
        message = f"cannot read variable {shown}: {unfit.cause}\n  where: {where}\n  way out: {unfit.way_out}"
        self._unfit.append(Unfit(file=where, line=None, cause=unfit.cause, way_out=unfit.way_out, message=message))


def _wrong_line(file: str, problem: Problem) -> Unfit:
    (message,) = render_problems(file, [problem])
    return Unfit(file=file, line=problem.line, cause=problem.text, way_out="correct the line", message=message)


def _misnamed(file: str) -> _UnfitError:
    if file.endswith("~"):
        return _UnfitError(
            "it looks like an editor's backup", "remove it, and let the editor keep its backups elsewhere"
        )
    return _UnfitError(
        "its name is no name for a variable",
        "use letters, digits and _, no digit first; .ssm or .secret for a reference",
    )


def _parse_reference(kind: Literal["ssm", "secret"], value: str | None) -> Reference:
    if not value:
        raise _UnfitError("it refers to nothing", f"write the {_STORES[kind]} into it")
    if not value.isprintable():
        raise _UnfitError(
            "it holds characters that no reference has", f"write the {_STORES[kind]} into its first line, as plain text"
        )
    return Reference(kind=kind, text=value)


def _too_large(longest: int) -> _UnfitError:
    return _UnfitError(f"it is larger than {longest // 1024} KiB", "make it shorter")


def _read_file(folder: int, name: str, longest: int) -> bytes:
    """Raises FileNotFoundError and IsADirectoryError for what is nobody's file, _UnfitError for what cannot be one."""
    try:
        descriptor = os.open(name, _FILE_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        if link := _link(folder, name):
            raise _UnfitError(link) from None
        if error.errno == errno.ENXIO:  # a socket
            raise _UnfitError(_IRREGULAR) from None
        raise _UnfitError(str(error.strerror), "let the user that runs bootstrap read it") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(name)
        if not stat.S_ISREG(mode):
            raise _UnfitError(_IRREGULAR)
        content = os.read(descriptor, longest + 1)
    finally:
        os.close(descriptor)
    if len(content) > longest:
        raise _too_large(longest)
    return content


def _link(folder: int, name: str) -> str | None:
    try:
        return f"it is a link to {quoted(os.readlink(name, dir_fd=folder))}"
    except OSError:
        return None
