"""A layer and new values for some of its keys → the files that hold them, and the layer as it would then be read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bootstrap.config.dotenv_file import render_line
from bootstrap.errors import Refused
from bootstrap.variable import Setting, is_too_long, parse_value, render_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.variable import Layer


def render_files(layer: Layer, values: Mapping[str, str | None]) -> dict[str, bytes | None]:
    """Key → what its file shall hold, ``None`` for no file; raises Refused with all values that no file holds."""
    contents = {key: None if value is None else render_value(value) for key, value in values.items()}
    problems = [
        _describe_unfit(layer, key, value)
        for key, value in values.items()
        if value is not None and (contents[key] is None or is_too_long(key, value))
    ]
    if problems:
        raise Refused(*problems)
    return contents


def edit_layer(layer: Layer, contents: Mapping[str, bytes | None]) -> Layer:
    """The layer with these files; under a file that goes, a line of the ``.env`` counts again."""
    settings, shadowed = dict(layer.settings), dict(layer.shadowed)
    for key, content in contents.items():
        before = settings.pop(key, None)
        if before is not None and is_line(before):
            shadowed[key] = before
        if content is not None:
            settings[key] = Setting(value=parse_value(content), file=f"{layer.name}/{key}")
        elif key in shadowed:
            settings[key] = shadowed.pop(key)
    return replace(layer, settings=settings, shadowed=shadowed)


def is_line(setting: Setting) -> bool:
    """Whether it stands in a ``.env``, and not in a file of its own."""
    return setting.file.endswith("/.env")


def _describe_unfit(layer: Layer, key: str, value: str) -> str:
    if is_too_long(key, value):
        return (
            f"cannot set {key}: no program can be started with a value of more than 128 KiB\n"
            "  way out: keep it in a file, and set the variable to the file's path"
        )
    if "\0" in value:
        return f"cannot set {key}: no environment can hold a NUL byte\n  way out: encode the value"
    why = f"cannot set {key}: a layer file loses blanks and tabs at its end"
    if render_line(key, value) is None:
        return f"{why}, and no .env can hold this value\n  way out: encode it"
    there = layer.settings.get(key)
    stronger = f", and remove {there.file}, which is stronger" if there is not None and not is_line(there) else ""
    return f'{why}\n  way out: write {key}="…" with its quotes into {layer.name}/.env by hand{stronger}; then commit it'
