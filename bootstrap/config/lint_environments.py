"""All environments → what repeats what lies below, what nobody reads, twins, and what is missing or unfit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap import rules
from bootstrap.config.finding import Finding
from bootstrap.environ import Layering, layer_names
from bootstrap.spelling import listed
from bootstrap.variable import Reference

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from bootstrap.config.survey import Surveyed
    from bootstrap.definition import Catalog, Service
    from bootstrap.rules import Breach
    from bootstrap.variable import Environment, Setting

_CONVENTIONAL_TWINS = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"})


def readers_of(surveyed: Sequence[Surveyed]) -> dict[str, set[str]]:
    """Layer → the services that read it in some mode."""
    readers: dict[str, set[str]] = {}
    for one in surveyed:
        for layer in one.environment.layers:
            readers.setdefault(layer.name, set()).add(one.program.service.name)
    return readers


def judge_environments(
    catalog: Catalog, layering: Layering, surveyed: Sequence[Surveyed], readers: Mapping[str, Collection[str]]
) -> Iterator[Finding]:
    """What can only be seen where layers lie on one another."""
    yield from _repeated(surveyed)
    yield from _unread_keys(catalog, layering, readers)
    for one in surveyed:
        yield from _twins(one.environment)
        yield from _unfit(one.environment, layering)
    yield from _missing(surveyed, layering)


def _repeated(surveyed: Sequence[Surveyed]) -> Iterator[Finding]:
    """Settings that say what is said below them already, in every environment that they are in."""
    below_of: dict[tuple[str, str], tuple[Setting, Setting] | None] = {}
    for one in surveyed:
        lower: dict[str, Setting] = {}
        for layer in one.environment.layers:
            for key, setting in layer.settings.items():
                below = lower.get(key)
                place = (layer.name, key)
                if below is None or below.value != setting.value:
                    below_of[place] = None
                else:
                    below_of.setdefault(place, (setting, below))
                lower[key] = setting
    for (layer_name, key), pair in below_of.items():
        if pair is not None and layer_name.startswith("config/"):
            setting, below = pair
            yield Finding(
                rule="repeated",
                severity="warning",
                file=setting.file,
                line=0,
                key=key,
                text=f"{key} has the very value that {below.file} gives it already",
                way_out="remove it here, so that the next change is made in one place",
            )


def _unread_keys(catalog: Catalog, layering: Layering, readers: Mapping[str, Collection[str]]) -> Iterator[Finding]:
    """Keys of layers whose readers all say what they read, and do not say this; who says nothing may read anything."""
    declared = {name: _declared(service, layering) for name, service in catalog.services.items()}
    known = set().union(*declared.values())
    for layer in layering.layers.values():
        services = readers.get(layer.name, ())
        if not services or not all(declared[service] for service in services):
            continue
        read = set().union(*(declared[service] for service in services))
        for key, setting in layer.settings.items():
            if key in read or key not in known:
                continue
            wanting = sorted(name for name, keys in declared.items() if key in keys)
            yield Finding(
                rule="unread-key",
                severity="warning",
                file=setting.file,
                line=0,
                key=key,
                text=f"{key} is read by {listed(wanting)} alone, and this layer is not theirs",
                way_out="move it to a layer of theirs, or declare it in the definition of who reads it here",
            )


def _declared(service: Service, layering: Layering) -> set[str]:
    """What a service says it reads."""
    required = (rule.key for rule in layering.rules.values() if isinstance(rule.required, tuple))
    return {
        *service.requires,
        *service.env,
        *service.secret,
        *(key for key in required if layering.rules[key].is_required_by(service.name)),
    }


def _twins(environment: Environment) -> Iterator[Finding]:
    folded: dict[str, str] = {}
    for key, variable in environment.variables.items():
        other = folded.setdefault(key.casefold(), key)
        if other == key or key.casefold() in _CONVENTIONAL_TWINS:
            continue
        yield Finding(
            rule="case-twin",
            severity="warning",
            file=variable.file,
            line=0,
            key=key,
            text=f"{key} and {other} ({environment.variables[other].file}) differ only in case",
            way_out="keep the one that programs read",
        )


def _unfit(environment: Environment, layering: Layering) -> Iterator[Finding]:
    for breach in find_breaches(environment, layering):
        yield Finding(
            rule="schema",
            severity="error",
            file=breach.file,
            line=0,
            key=breach.rule.key,
            text=f"{breach.rule.key} should be {breach.expected}, and is not ({breach.rule.place})",
            way_out="correct the value, or what the schema says about it",
        )


def find_breaches(environment: Environment, layering: Layering) -> Iterator[Breach]:
    """Values that are not what the schema says; what a reference stands for is only known on a box."""
    unknown = [key for key in layering.rules if _is_reference(environment, key)]
    return rules.judge_values(layering.rules, environment.variables, unknown)


def _is_reference(environment: Environment, key: str) -> bool:
    history = environment.history(key)
    return bool(history) and isinstance(history[-1][1].value, Reference)


def _missing(surveyed: Sequence[Surveyed], layering: Layering) -> Iterator[Finding]:
    """Required keys, each told once with the modes that lack it."""
    modes: dict[tuple[str, str, int, str], list[str]] = {}
    for one in surveyed:
        for key, file, line in find_missing(one, layering):
            modes.setdefault((one.program.service.name, file, line, key), []).append(one.mode)
    for (name, file, line, key), lacking in modes.items():
        yield Finding(
            rule="required",
            severity="error",
            file=file,
            line=line,
            key=key,
            text=f"{name} requires {key}, and has none in {', '.join(dict.fromkeys(lacking))}",
            way_out=f"set it in a layer of {name}, or stop requiring it",
        )


def find_missing(one: Surveyed, layering: Layering) -> Iterator[tuple[str, str, int]]:
    """Required keys that are not set, each with the file and line (0: the whole file) that requires it."""
    service = one.program.service
    if not _is_configured(one, layering):
        return
    ruled = {rule.key: rule.line for rule in layering.rules.values() if rule.is_required_by(service.name)}
    for key in dict.fromkeys((*ruled, *service.requires)):
        if key not in one.environment.variables:
            yield (key, rules.FILE, ruled[key]) if key in ruled else (key, service.file, 0)


def _is_configured(one: Surveyed, layering: Layering) -> bool:
    """Whether this repository says anything about this mode at all: four are built in, and few use all of them."""
    templates = [template for template in layering.order if "{mode}" in template]
    return any(layering.layers[name].settings for name in layer_names(one.program, one.mode, templates))
