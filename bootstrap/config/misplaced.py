"""What stands where nobody reads it, though somebody believes so → a sentence each.

Nothing of it is an error of the box: what is read is right. So ``plan`` and ``up`` only mention it, and lint counts it.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Literal

from bootstrap.frozen import dataclass
from bootstrap.spelling import did_you_mean, nearest
from bootstrap.variable import KEY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from bootstrap.definition import Catalog

_SETTINGS = ("box", "layers", "schema")  # config/<this>.yaml
_REFERENCES = ("", "ssm", "secret")
_SAMPLES = frozenset({"dist", "example", "sample", "template"})  # of a .env, for people
_FOR_PEOPLE = frozenset(
    {"AUTHORS", "CHANGELOG", "CODEOWNERS", "CONTRIBUTING", "COPYING", "LICENCE", "LICENSE", "MAINTAINERS", "NOTICE"}
    | {"OWNERS", "README", "TODO", "VERSION"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Misplaced:
    """A file or a directory that nobody reads."""

    place: str  # relative to the root
    text: str
    way_out: str
    severity: Literal["error", "warning"] = "error"


def judge_top(names: Iterable[str]) -> Iterator[Misplaced]:
    """Files directly in ``config/``: variables are in layers, and settings have three names."""
    for name in sorted(names):
        stem, dot, kind = name.partition(".")
        is_variable = stem.isupper() and stem not in _FOR_PEOPLE and KEY.fullmatch(stem) and kind in _REFERENCES
        if name.startswith(".env."):
            yield from judge_dotenvs([f"config/{name}"])
        elif name == ".env" or is_variable:
            yield Misplaced(
                place=f"config/{name}",
                text="it is in no layer, so nobody reads it",
                way_out="move it into a layer, such as config/common",
            )
        elif dot and kind.lower() in {"yaml", "yml"} and name not in {f"{one}.yaml" for one in _SETTINGS}:
            meant = nearest(stem, _SETTINGS)
            if meant is not None:
                yield Misplaced(
                    place=f"config/{name}",
                    text=f'nobody reads a file of this name; did you mean "{meant}.yaml"?',
                    way_out=f"rename it to {meant}.yaml, or give it a name that is further from it",
                    severity="error" if stem.lower() == meant else "warning",
                )


def judge_dotenvs(places: Iterable[str]) -> Iterator[Misplaced]:
    """Files such as ``.env.local``, which other tools read: their paths from the root."""
    for place in sorted(places):
        if place.rpartition(".env.")[2] not in _SAMPLES:
            yield Misplaced(
                place=place,
                text="nobody reads a file of this name; of a layer, .env alone is read",
                way_out="move its lines to the .env of the layer that it is meant for, or remove it",
            )


def judge_folder(name: str, known: Collection[str]) -> Misplaced:
    """A directory below ``config/`` that is none of the layers that are known."""
    below = sorted(one.removeprefix(f"{name}/") for one in known if one.startswith(f"{name}/"))
    if below:
        return Misplaced(
            place=f"config/{name}",
            text=f"no service reads this directory in any mode, but those below it: {', '.join(below)}",
            way_out=f"move what is in it into one of those, such as config/{name}/{below[0]}",
        )
    alike = [one for one in known if one.count("/") == name.count("/")]
    return Misplaced(
        place=f"config/{name}",
        text=f"no service reads this directory in any mode{did_you_mean(name, alike)}",
        way_out="rename it, remove it, or name it in config/layers.yaml",
    )


def judge_procfiles(services: Iterable[str]) -> Iterator[Misplaced]:
    """The Procfiles of services that have a ``service.yaml``; the app may need its own elsewhere, so it is no error."""
    for name in sorted(services):
        yield Misplaced(
            place=f"services/{name}/Procfile",
            text="service.yaml stands beside it, and nobody reads both",
            way_out="remove it, or move its processes into service.yaml",
            severity="warning",
        )


def possible_layers(
    order: Iterable[str], catalog: Catalog, mode: str | None = None, service: str | None = None
) -> set[str]:
    """Every directory below ``config/`` that stands for a mode, a service and a process that there are.

    With a mode or a service, those for that one alone.
    """
    services = catalog.services if service is None else {service: catalog.services[service]}
    processes = [(name, process) for name, one in services.items() for process in one.processes]
    found: set[str] = set()
    for template in order:
        modes = ("",) if "{mode}" not in template else catalog.modes if mode is None else (mode,)
        programs = processes if "{process}" in template else [(name, "") for name in services]
        for in_mode, (name, process) in product(modes, programs if "{" in template else [("", "")]):
            found.add(template.replace("{mode}", in_mode).replace("{service}", name).replace("{process}", process))
    return found
