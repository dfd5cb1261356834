"""Two surveys of a configuration → what an edit changes: for each program of each box, and what of it restarts.

The reasons are those of ``plan``: both compare the same facts in the same words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from bootstrap.frozen import dataclass
from bootstrap.generation import describe_program
from bootstrap.reconcile import explain_change
from bootstrap.variable import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bootstrap.config.survey import Surveyed
    from bootstrap.variable import Environment, Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """One key of one program; values as they would be shown unmasked, ``None`` where there is none."""

    key: str
    kind: Literal["added", "removed", "changed"]
    before: str | None
    after: str | None
    file: str  # where it comes from now, or came from
    hides_before: bool  # a reference is no secret, though its key is
    hides_after: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """One program that an edit would start, stop or restart, on boxes of this mode (and service)."""

    mode: str
    service: str
    program: str
    action: Literal["start", "stop", "replace"]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outweighed:
    """A key of a layer that counts for nothing for these services in these modes: a stronger layer sets it too."""

    key: str
    file: str  # that wins
    services: tuple[str, ...]
    modes: tuple[str, ...]


def diff_environments(before: Environment, after: Environment, secret: Iterable[str] = ()) -> list[KeyChange]:
    """Keys whose effective values differ, in alphabetical order; ``secret`` are the keys that the service hides."""
    hidden = {*secret, *before.secret, *after.secret}
    changes = []
    for key in sorted({*before.variables, *after.variables}):
        old, new = _effective(before, key), _effective(after, key)
        if old is not None and new is not None and _text(old) == _text(new):
            continue
        if old is None and new is None:
            continue
        winner = new or old
        assert winner is not None  # noqa: S101 - one of them is there; this tells the type checker
        is_secret = key in hidden
        changes.append(
            KeyChange(
                key=key,
                kind="added" if old is None else "removed" if new is None else "changed",
                before=None if old is None else _text(old),
                after=None if new is None else _text(new),
                file=winner.file,
                hides_before=is_secret and old is not None and not isinstance(old.value, Reference),
                hides_after=is_secret and new is not None and not isinstance(new.value, Reference),
            )
        )
    return changes


def find_outweighed(surveyed: Iterable[Surveyed], layer: str, keys: Iterable[str]) -> list[Outweighed]:
    """Where these keys of a layer (its path from the root) lie below others."""
    wanted = list(keys)
    found: dict[tuple[str, str], list[Surveyed]] = {}
    for one in surveyed:
        for key in wanted:
            says = {name: setting.file for name, setting in one.environment.history(key)}
            if layer in says and [*says][-1] != layer:
                found.setdefault((key, [*says.values()][-1]), []).append(one)
    return [
        Outweighed(
            key=key,
            file=file,
            services=tuple(dict.fromkeys(one.program.service.name for one in where)),
            modes=tuple(dict.fromkeys(one.mode for one in where)),
        )
        for (key, file), where in found.items()
    ]


def diff_surveys(before: Iterable[Surveyed], after: Iterable[Surveyed], key: bytes) -> list[Impact]:
    """What an edit would do, in order of modes, services and programs; ``key`` is any secret for digests."""
    old, new = _by_place(before), _by_place(after)
    impacts = []
    for place in sorted({*old, *new}):
        found = _impact(place, old.get(place), new.get(place), key)
        if found is not None:
            impacts.append(found)
    return impacts


def _impact(place: tuple[str, str, str], old: Surveyed | None, new: Surveyed | None, key: bytes) -> Impact | None:
    mode, service, program = place
    if old is None:
        return Impact(mode=mode, service=service, program=program, action="start", reasons=("it is new",))
    if new is None:
        return Impact(mode=mode, service=service, program=program, action="stop", reasons=("it is gone",))
    before, after = _facts(old, key), _facts(new, key)
    if _decisive(before) == _decisive(after):
        return None
    return Impact(mode=mode, service=service, program=program, action="replace", reasons=explain_change(before, after))


def _facts(surveyed: Surveyed, key: bytes) -> dict[str, Any]:
    facts = describe_program(surveyed.program, surveyed.environment, key)
    return {**facts, "env": dict(_reference_texts(surveyed.environment, facts["env"]))}


def _decisive(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What restarts a program: anything but the places where things stand."""
    env = {name: digest for name, (digest, _) in facts["env"].items()}
    return {**facts, "env": env, "file": None}


def _reference_texts(environment: Environment, env: Mapping[str, list[str]]) -> Iterator[tuple[str, list[str]]]:
    """Away from its box a reference has no value: what it says stands for it."""
    for name, (digest, file) in env.items():
        setting = _effective(environment, name)
        is_reference = setting is not None and isinstance(setting.value, Reference)
        yield name, [_text(setting) if is_reference and setting else digest, file]


def _by_place(surveyed: Iterable[Surveyed]) -> dict[tuple[str, str, str], Surveyed]:
    return {(one.mode, one.program.service.name, one.program.name): one for one in surveyed}


def _effective(environment: Environment, key: str) -> Setting | None:
    """What decides about a key; ``None`` if it is not set in the end."""
    if key not in environment.variables:
        return None
    return environment.history(key)[-1][1]


def _text(setting: Setting) -> str:
    if isinstance(setting.value, Reference):
        return f"{setting.value.kind}:{setting.value.text}"
    return setting.value or ""
