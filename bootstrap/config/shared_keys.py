"""All environments of a mode → keys that every service has alike, and a layer that could hold them once.

A proposal is proved, not argued: the layers are changed in memory, every environment of every mode and service is made
anew, and a key for which a single value differs is dropped.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bootstrap.config.survey import survey_environments
from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bootstrap.box import Box
    from bootstrap.config.survey import Surveyed
    from bootstrap.environ import Layering
    from bootstrap.plan import Plan
    from bootstrap.variable import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One key that moves up: from these files to the layer that all of them lie over."""

    key: str
    setting: Setting  # as it stands in the first of the files
    files: tuple[str, ...]


def propose_shares(
    layering: Layering, plans: Sequence[Plan], box: Box, *, target: str, sources: Sequence[str]
) -> list[Share]:
    """Keys of the ``sources`` (directories below config/) that ``target`` could hold for all of them."""
    shares = {share.key: share for share in _alike(layering, target, sources)}
    before = survey_environments(list(plans), layering, box)
    while shares:
        moved = _move(layering, target, shares.values())
        different = _differing(before, survey_environments(list(plans), moved, box), shares)
        if not different:
            break
        shares = {key: share for key, share in shares.items() if key not in different}
    return sorted(shares.values(), key=lambda share: share.key)


def _alike(layering: Layering, target: str, sources: Sequence[str]) -> Iterable[Share]:
    """Keys that at least two sources set, all of them alike, each in a file of its own."""
    found: dict[str, list[Setting]] = {}
    for source in sources:
        for key, setting in layering.layers[source].settings.items():
            found.setdefault(key, []).append(setting)
    for key, settings in found.items():
        in_files = all(not setting.file.endswith("/.env") for setting in settings)
        is_free = key not in layering.layers[target].settings
        if len(settings) > 1 and in_files and is_free and len({setting.value for setting in settings}) == 1:
            yield Share(key=key, setting=settings[0], files=tuple(setting.file for setting in settings))


def _move(layering: Layering, target: str, shares: Iterable[Share]) -> Layering:
    files = {file for share in shares for file in share.files}
    layers = {
        name: replace(layer, settings={key: one for key, one in layer.settings.items() if one.file not in files})
        for name, layer in layering.layers.items()
    }
    shared = {share.key: replace(share.setting, file=moved_file(target, share)) for share in shares}
    layers[target] = replace(layers[target], settings={**layers[target].settings, **shared})
    return replace(layering, layers=layers)


def moved_file(target: str, share: Share) -> str:
    """Where the key stands after the move."""
    return f"config/{target}/{share.files[0].rpartition('/')[2]}"


def _differing(before: Sequence[Surveyed], after: Sequence[Surveyed], keys: Mapping[str, Share]) -> set[str]:
    """Keys that some environment finds otherwise; a reference counts by what it refers to."""
    different: set[str] = set()
    for old, new in zip(before, after, strict=True):
        for key in keys:
            if _meaning(old, key) != _meaning(new, key):
                different.add(key)
    return different


def _meaning(one: Surveyed, key: str) -> object:
    variable = one.environment.variables.get(key)
    if variable is None:
        return None
    history = one.environment.history(key)
    return (variable.value, variable.secret, history[-1][1].value)
