"""Settings, one by one → what was copied in with a value, and what should not stand there in clear text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bootstrap.config.clear_text import find_secret
from bootstrap.config.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from bootstrap.config.survey import Surveyed
    from bootstrap.definition import Catalog
    from bootstrap.environ import Layering
    from bootstrap.variable import Setting

_QUOTES = "\"'"
_STORE = (
    "keep it in a store and refer to it with {key}.ssm or {key}.secret; if it is none, say `secret: false` of it in "
    "config/schema.yaml"
)


def judge_values(
    catalog: Catalog, layering: Layering, surveyed: Sequence[Surveyed], cut: Collection[str]
) -> Iterator[Finding]:
    """What is wrong with a value wherever it is used."""
    exposed = _exposed_layers(catalog, surveyed)
    for layer in layering.layers.values():
        for settings in (layer.settings, layer.shadowed):
            for key, setting in settings.items():
                yield from _judge(key, setting, layering, cut, is_exposed=layer.name in exposed)
    for service in catalog.services.values():
        for key, value in service.env.items():
            yield from _judge_clear_text(key, value, service.file, layering, "error")


def _exposed_layers(catalog: Catalog, surveyed: Sequence[Surveyed]) -> set[str]:
    """The layers that boxes read which run one service: those are more than somebody's trial."""
    return {layer.name for one in surveyed if catalog.modes[one.mode].runs == "one" for layer in one.environment.layers}


def _judge(
    key: str, setting: Setting, layering: Layering, cut: Collection[str], *, is_exposed: bool
) -> Iterator[Finding]:
    value = setting.value
    if not isinstance(value, str):
        return
    yield from _judge_clear_text(key, value, setting.file, layering, "error" if is_exposed else "warning")
    is_file = not setting.file.endswith("/.env")
    for severity, text, way_out in _strays(key, value, is_file=is_file, is_cut=setting.file in cut):
        yield Finding(
            rule="stray", severity=severity, file=setting.file, line=int(is_file), key=key, text=text, way_out=way_out
        )


def _judge_clear_text(
    key: str, value: str, file: str, layering: Layering, severity: Literal["error", "warning"]
) -> Iterator[Finding]:
    kind = find_clear_text(key, value, layering)
    if kind is not None:
        text, way_out = f"{key} is probably a secret in clear text: {kind}", _STORE.format(key=key)
        yield Finding(rule="clear-text", severity=severity, file=file, line=0, key=key, text=text, way_out=way_out)


def find_clear_text(key: str, value: str, layering: Layering) -> str | None:
    """What kind of secret this probably is, unless the schema says that it is none."""
    rule = layering.rules.get(key)
    return None if rule is not None and rule.secret is False else find_secret(key, value)


def _strays(
    key: str, value: str, *, is_file: bool, is_cut: bool
) -> Iterator[tuple[Literal["error", "warning"], str, str]]:
    """Severity, what came along with the value, and the way out."""
    if value.endswith("\r"):
        yield "error", f"{key} ends in a carriage return", "save the file with Unix line ends"
    elif "\r\n" in value:
        yield "warning", f"{key} has lines that end in a carriage return", "save it with Unix line ends"
    if is_file and len(value) > 1 and value[0] in _QUOTES and value[-1] == value[0] and value.count(value[0]) == 2:
        yield "warning", f"{key} is in quotes, and they are part of the value", "remove the quotes"
    if value.startswith((f"{key}=", f"export {key}=")):
        yield "warning", f"{key} begins with its own name and =", "keep only what follows the ="
    if value[:1].isspace():
        yield "warning", f"{key} begins with a blank", "remove the blank"
    if is_cut:
        has_lost = value.startswith("-----BEGIN ")
        yield (
            "error" if has_lost else "warning",
            f"{key} is the first line of its file alone: the others are ignored",
            "remove them, or write the lines as one value with `config set`",
        )
