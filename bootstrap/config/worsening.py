"""Two states of a configuration, before and after an edit of one layer → what the edit would newly break.

It is what lint and ``up`` would say, found by the same functions. What was broken before may stay broken: whoever mends
a repository in steps has to get every step through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.config.lint_environments import find_breaches, find_missing
from bootstrap.config.lint_values import find_clear_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from bootstrap.config.survey import Survey, Surveyed
    from bootstrap.variable import Layer


def describe_worsening(verb: str, keys: Collection[str], before: Survey, after: Survey) -> Iterator[str]:
    """What the schema, or a definition, asks of these keys and has got until now; ``verb`` is what the edit does."""
    unfit: dict[tuple[str, str, str, str], dict[str, None]] = {}
    missing: dict[tuple[str, str, str], dict[str, None]] = {}
    for old, new in _pairs(before, after):
        had = {breach.rule.key for breach in find_breaches(old.environment, before.layering)}
        for breach in find_breaches(new.environment, after.layering):
            if breach.rule.key in keys and breach.rule.key not in had:
                said = (breach.rule.key, breach.expected, breach.file, breach.rule.place)
                unfit.setdefault(said, {})[new.mode] = None
        for key, file, line in find_missing(new, after.layering):
            if key in keys and key in old.environment.variables:
                place = f"{file}:{line}" if line else file
                missing.setdefault((key, new.program.service.name, place), {})[new.mode] = None
    for (key, expected, file, place), modes in unfit.items():
        yield (
            f"cannot {verb} {key}: it should be {expected}, and would not be in {', '.join(modes)}\n"
            f"  where: {file} ({place})\n"
            "  way out: give it such a value, or change the rule first"
        )
    for (key, service, place), modes in missing.items():
        yield (
            f"cannot {verb} {key}: {service} requires it, and would have none in {', '.join(modes)}\n"
            f"  where: {place}\n"
            f"  way out: set it in another layer of {service} first, or stop requiring it"
        )


def find_exposed(keys: Collection[str], layer: Layer, survey: Survey) -> Iterator[str]:
    """Those of the keys whose values in this layer are probably secrets in clear text."""
    for key in keys:
        setting = layer.settings.get(key)
        if setting and isinstance(setting.value, str) and find_clear_text(key, setting.value, survey.layering):
            yield key


def _pairs(before: Survey, after: Survey) -> Iterator[tuple[Surveyed, Surveyed]]:
    """An edit of a layer adds and removes no program."""
    return zip(before.surveyed, after.surveyed, strict=True)
