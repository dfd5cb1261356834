"""Guards + all environments → where a mode reaches what it must not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.config.finding import Finding
from bootstrap.config.guard import Guard, Protected, find_reach, hosts_in
from bootstrap.environ import Layering, layer_names
from bootstrap.spelling import did_you_mean, listed, quoted
from bootstrap.variable import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bootstrap.config.guard import Reach
    from bootstrap.config.survey import Surveyed
    from bootstrap.definition import Catalog
    from bootstrap.variable import Environment, Setting

_FILE = "config/layers.yaml"


def judge_guards(
    guards: Mapping[str, Guard], catalog: Catalog, layering: Layering, surveyed: Sequence[Surveyed]
) -> Iterator[Finding]:
    """Every reach of every guarded mode."""
    for guard in guards.values():
        yield from _unknown_modes(guard, catalog)
        others = [_protect(mode, layering, surveyed) for mode in guard.against if mode != guard.mode]
        for one in surveyed:
            if one.mode == guard.mode:
                winners = winners_of(one.environment)
                for reach in find_reach(guard, one.environment.layers, winners, others):
                    yield _finding(guard, reach)


def winners_of(environment: Environment) -> dict[str, Setting]:
    """Key → the setting that wins; what is removed in the end is left out."""
    winners: dict[str, Setting] = {}
    for layer in environment.layers:
        winners.update(layer.settings)
    return {key: setting for key, setting in winners.items() if setting.value is not None}


def _protect(mode: str, layering: Layering, surveyed: Sequence[Surveyed]) -> Protected:
    templates = [template for template in layering.order if "{mode}" in template]
    theirs = [one for one in surveyed if one.mode == mode]
    names = {name for one in theirs for name in layer_names(one.program, mode, templates)}
    values = [setting.value for name in names for setting in layering.layers[name].settings.values()]
    references = (setting.value for one in theirs for setting in winners_of(one.environment).values())
    return Protected(
        mode=mode,
        layers=frozenset(f"config/{name}" for name in names),
        references=frozenset(value for value in references if isinstance(value, Reference)),
        hosts=frozenset(host for value in values if isinstance(value, str) for host in hosts_in(value)),
    )


def _unknown_modes(guard: Guard, catalog: Catalog) -> Iterator[Finding]:
    for mode in (guard.mode, *guard.against):
        if mode not in catalog.modes:
            yield Finding(
                rule="guard",
                severity="error",
                file=_FILE,
                line=guard.line,
                text=f"there is no mode {quoted(mode)}{did_you_mean(mode, catalog.modes)} "
                f"(modes: {listed(catalog.modes)})",
                way_out="correct the name",
            )


def _finding(guard: Guard, reach: Reach) -> Finding:
    if reach.setting is None:
        file, line, text = _FILE, guard.line, f"{guard.mode} reads {reach.layer}, which {reach.cause}"
        way_out = f"leave the layer out of what {guard.mode} reads"
    else:
        file, line = reach.setting.file, 0
        text = f"{guard.mode} must not reach this: {reach.key} {reach.cause}"
        way_out = f"give {guard.mode} a value of its own in a layer of that mode, or allow it in {_FILE}"
    return Finding(rule="guard", severity="error", file=file, line=line, key=reach.key, text=text, way_out=way_out)
