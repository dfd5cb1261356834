"""Environment → what people are shown of it: each key's value, where it comes from, and what it hides.

Secrets are masked unless they are asked for. A reference is shown as what it is, ``ssm:/name``: its value is nowhere
here, so ``reveal`` cannot show it either, and it always counts as masked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from bootstrap.frozen import dataclass
from bootstrap.variable import Reference

if TYPE_CHECKING:
    from collections.abc import Collection

    from bootstrap.config.commits import Commit
    from bootstrap.variable import Environment, Setting

Origin: TypeAlias = "Commit | Literal['uncommitted']"
MASK = "••••••"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one layer says about a key, as shown; ``None``: that it is removed."""

    layer: str
    file: str
    value: str | None
    wins: bool
    origin: Origin | None = None  # where git knows it


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One key of one environment, as shown."""

    key: str
    value: str | None  # None: a layer removes the key
    masked: bool
    layers: tuple[Said, ...]  # strongest last

    @property
    def winner(self) -> Said:
        """What decides."""
        return self.layers[-1]


def explain_environment(environment: Environment, secret: Collection[str], *, reveal: bool) -> dict[str, Explanation]:
    """Every key that any layer has a say about, in alphabetical order; ``secret`` are the keys that a service hides."""
    keys = {key for layer in environment.layers for key in layer.settings}
    return {key: _explain(environment, key, secret, reveal=reveal) for key in sorted(keys)}


def _explain(environment: Environment, key: str, secret: Collection[str], *, reveal: bool) -> Explanation:
    history = environment.history(key)
    hidden = (
        key in secret
        or key in environment.secret
        or any(isinstance(setting.value, Reference) for _, setting in history)
    )
    mask = hidden and not reveal
    last = len(history) - 1
    layers = tuple(
        Said(layer=layer, file=setting.file, value=_show(setting, mask=mask), wins=index == last)
        for index, (layer, setting) in enumerate(history)
    )
    winner = history[-1][1].value
    masked = isinstance(winner, Reference) or (mask and winner is not None)
    return Explanation(key=key, value=layers[-1].value, masked=masked, layers=layers)


def _show(setting: Setting, *, mask: bool) -> str | None:
    match setting.value:
        case None:
            return None
        case Reference(kind=kind, text=text):
            return f"{kind}:{text}"
        case str(value):
            return MASK if mask else value
