"""References → secrets, each resolved once and pinned until somebody asks for new ones.

The values stand in the run directory, which is memory on a real box: an ``up`` with nothing changed asks nobody,
restarts nothing, and does not need AWS. The versions stand in the state directory and outlive a reboot, so that a box
comes back with the secrets it had; a value never does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bootstrap.errors import Unavailable
from bootstrap.frozen import dataclass
from bootstrap.world import disk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bootstrap.box import Box
    from bootstrap.environ import Need
    from bootstrap.variable import Reference
    from bootstrap.world.secrets import Secret

PINS = "secret-versions.json"
_MARGIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How references are resolved: ``refresh`` looks for new versions, a dry run does not ``keep`` what it finds."""

    mode: str
    refresh: bool = False
    keep: bool = True
    say: Callable[[str], None] = lambda _: None


def read_secrets(box: Box, wanted: Mapping[Reference, Need], asking: Asking) -> Mapping[Reference, Secret]:
    """Every reference with its secret.

    Raises Unavailable without access to the stores, DefinitionError for references that lead to nothing.
    """
    if not wanted:
        return {}
    from bootstrap.world.config.local_secrets import read_local_secrets  # noqa: PLC0415 - only with references

    local = read_local_secrets(box, asking.mode, wanted)
    remote = {reference: need for reference, need in wanted.items() if reference not in local}
    return {**_read_remote(box, remote, asking), **local}


def _read_remote(box: Box, wanted: Mapping[Reference, Need], asking: Asking) -> Mapping[Reference, Secret]:
    from bootstrap.world.secrets import Secret  # noqa: PLC0415 - only with references

    known, seen = _read_known(box), _read_seen(box)
    missing = {reference: need for reference, need in wanted.items() if asking.refresh or _name(reference) not in known}
    if missing:
        pins = {} if asking.refresh else {one: seen[_name(one)] for one in missing if _name(one) in seen}
        found = _resolve(missing, pins, asking.mode)
        known |= {_name(reference): [secret.value, secret.version] for reference, secret in found.items()}
        _tell_news(found, seen, asking)
        if asking.keep:
            _keep(box, known, seen)
    pairs = {reference: known[_name(reference)] for reference in wanted}
    return {reference: Secret(value=value, version=version) for reference, (value, version) in pairs.items()}


def _read_known(box: Box) -> dict[str, list[str]]:
    """Name → value and version, of this boot; what is damaged is asked for again."""
    found = disk.read_mapping(f"{box.run}/secrets.json")
    return {name: pair for name, pair in found.items() if _is_pair(pair)}


def _is_pair(found: object) -> bool:
    return isinstance(found, list) and len(found) == 2 and all(isinstance(one, str) for one in found)


def _read_seen(box: Box) -> dict[str, str]:
    """Name → version, of earlier boots too."""
    found = disk.read_mapping(f"{box.state}/{PINS}")
    return {name: version for name, version in found.items() if isinstance(version, str)}


def _resolve(missing: Mapping[Reference, Need], pins: Mapping[Reference, str], mode: str) -> Mapping[Reference, Secret]:
    from bootstrap.world import aws  # noqa: PLC0415 - only with references
    from bootstrap.world.config import local_secrets  # noqa: PLC0415 - likewise
    from bootstrap.world.ec2 import errands  # noqa: PLC0415 - likewise
    from bootstrap.world.secrets import PATIENCE_S, Secret  # noqa: PLC0415 - likewise

    asked = [[one.kind, one.text, pins.get(one), need.files, need.programs] for one, need in missing.items()]
    try:
        found = errands.run("read-secrets", timeout_s=PATIENCE_S + _MARGIN_S, wanted=asked)
        return {one: Secret(value=value, version=version) for one, (value, version) in zip(missing, found, strict=True)}
    except aws.UnconfiguredError as error:
        if mode not in local_secrets.MODES:
            raise
        first = str(error).partition("\n")[0]
        raise Unavailable(
            f"{first}\n  way out: write the values to {local_secrets.FILE}, as {_name(next(iter(missing)))}=…"
        ) from error


def _tell_news(found: Mapping[Reference, Secret], seen: Mapping[str, str], asking: Asking) -> None:
    """What has another version than before; whether anything restarts, the plan says."""
    news = [
        f"{_name(reference)} has a new version: {before} → {secret.version}"
        for reference, secret in found.items()
        if (before := seen.get(_name(reference))) is not None and before != secret.version
    ]
    for line in news:
        asking.say(line)
    if asking.refresh and not news:
        asking.say(f"looked up {len(found)} secret{'' if len(found) == 1 else 's'}: no new versions")


def _keep(box: Box, known: Mapping[str, list[str]], seen: Mapping[str, str]) -> None:
    versions = {name: version for name, (_, version) in known.items()}
    if {**seen, **versions} != seen:
        disk.write_durably(f"{box.state}/{PINS}", json.dumps({**seen, **versions}).encode())
    disk.write_for_this_boot(f"{box.run}/secrets.json", json.dumps(known).encode())


def _name(reference: Reference) -> str:
    return f"{reference.kind}:{reference.text}"
