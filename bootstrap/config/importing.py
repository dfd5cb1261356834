"""Values from elsewhere → the files of a layer that hold them byte by byte, or a refusal.

One file a variable holds every value but those that end in a blank or a tab: lines of a value are kept apart by NUL, as
``chpst -e`` reads them. Those go to the layer's ``.env``. What neither can hold is refused, together with everything
else that would not arrive: names that are none, names that bootstrap or the shell keeps, NUL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.config.dotenv_file import render_line
from bootstrap.errors import DefinitionError, Refused
from bootstrap.frozen import dataclass
from bootstrap.launcher import SHELL_NAMES
from bootstrap.spelling import or_list, quoted
from bootstrap.variable import KEY, Reference, is_reserved, is_too_long, render_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bootstrap.definition import Catalog
    from bootstrap.variable import Layer

Value = str | Reference | None  # None removes the key


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What has to be done to a layer's directory, in this order."""

    files: Mapping[str, bytes]  # file name → content
    lines: str  # to be added to its .env
    removed: tuple[str, ...]  # files that would stand in the way
    kept: tuple[str, ...]  # keys that are references there, and stay so
    unchanged: tuple[str, ...]  # keys that have this very value there


def own_layer(order: tuple[str, ...], service: str | None, mode: str | None) -> str:
    """The directory below config/ for one service in one mode, one service, one mode, or all.

    The strongest layer that is about exactly this; raises DefinitionError where ``layers.yaml`` has none.
    """
    wanted = {"{service}": service, "{mode}": mode}
    named = {placeholder: name for placeholder, name in wanted.items() if name is not None}
    for template in reversed(order):
        placeholders = {one for one in (*wanted, "{process}") if one in template}
        if placeholders == set(named):
            for placeholder, name in named.items():
                template = template.replace(placeholder, name)  # noqa: PLW2901 - it becomes what it stands for
            return template
    what = " and ".join(placeholder for placeholder in named) or "no placeholder"
    raise DefinitionError(
        f"cannot write to a layer: none has {what} alone\n"
        "  where: config/layers.yaml: layers\n  way out: add such a layer"
    )


def check_target(catalog: Catalog, service: str | None, mode: str | None) -> None:
    """Raise Refused for a service or mode that nobody defined."""
    problems = [
        f"cannot use {noun} {quoted(name)}: no such {noun}{or_list(name, known, plural)}"
        for noun, plural, name, known in (
            ("service", "services", service, catalog.services),
            ("mode", "modes", mode, catalog.modes),
        )
        if name is not None and name not in known
    ]
    if problems:
        raise Refused(*problems)


def name_parameters(names: Iterable[str]) -> dict[str, Value]:
    """Key → reference: the last part of an SSM parameter's name is the key, as it stands.

    Raises Refused for names that come to the same key; ``refuse_lossy`` judges the keys.
    """
    values: dict[str, Value] = {}
    problems: list[str] = []
    for name in sorted(names):
        key = name.rpartition("/")[2]
        other = values.setdefault(key, Reference(kind="ssm", text=name))
        if isinstance(other, Reference) and other.text != name:
            problems.append(
                f"cannot import variable {quoted(key)}: both {other.text} and {name} come to it\n"
                "  way out: import a path that holds one of them"
            )
    if problems:
        raise Refused(*problems)
    return values


def refuse_lossy(values: Mapping[str, Value]) -> None:
    """Raise Refused with everything that could not arrive as it is."""
    problems = [
        f"cannot import variable {quoted(key)}: {cause}\n  way out: {way_out}"
        for key, value in values.items()
        for cause, way_out in _losses(key, value)
    ]
    if problems:
        raise Refused(*problems)


def _losses(key: str, value: Value) -> Iterator[tuple[str, str]]:
    rename = "give it another name where it comes from, or leave it out with --without"
    if not KEY.fullmatch(key):
        yield "it is no name for a variable (letters, digits and _, no digit first)", rename
    elif is_reserved(key):
        yield "bootstrap alone sets it", rename
    elif key in SHELL_NAMES:
        yield "the shell keeps this name for itself", rename
    elif not isinstance(value, str):
        return
    elif "\0" in value:
        yield "its value holds NUL, which no environment can carry", "store it encoded, as base64 for example"
    elif is_too_long(key, value):
        yield "its value is longer than any program's environment can hold", "keep it in a file or a store"
    elif render_value(value) is None and render_line(key, value) is None:
        yield (
            "its value ends in a blank or a tab, and a .env cannot hold it (not UTF-8, or 200 blanks in a row)",
            "remove the blanks where it comes from",
        )


def plan_writing(values: Mapping[str, Value], layer: Layer) -> Writing:
    """What makes the layer say these values; ``refuse_lossy`` has let them through."""
    files: dict[str, bytes] = {}
    lines, removed, kept, unchanged = [], [], [], []
    for key, value in values.items():
        there = layer.settings.get(key)
        if there is not None and there.value == value:
            unchanged.append(key)
        elif there is not None and isinstance(there.value, Reference) and not isinstance(value, Reference):
            kept.append(key)
        else:
            name, content = _render(key, value)
            if content is not None:
                files[name] = content
            else:
                lines.append(render_line(key, str(value)) or "")
            if there is not None and _name_of(there.file) not in {name if content is not None else ".env", ".env"}:
                removed.append(_name_of(there.file))
    return Writing(
        files=files, lines="".join(lines), removed=tuple(removed), kept=tuple(kept), unchanged=tuple(unchanged)
    )


def _render(key: str, value: Value) -> tuple[str, bytes | None]:
    if isinstance(value, Reference):
        return f"{key}.{value.kind}", f"{value.text}\n".encode()
    return key, render_value(value)


def _name_of(file: str) -> str:
    return file.rpartition("/")[2]
