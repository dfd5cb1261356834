"""Generation + Observed → ordered actions, each with its reasons.

Actions come from what is wanted and what is observed, never from what was done last time; so applying twice changes
nothing the second time. ``Keep`` is an action too: a dry run can say why nothing happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, assert_never

from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from bootstrap.observed import LastExit, Observed, ObservedProgram
    from bootstrap.rendering import Generation, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """It should run and does not."""

    program: str
    unit: Unit
    running: ObservedProgram | None  # what the supervisor knows under this name; it does not live
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """It runs and should not."""

    program: str
    running: ObservedProgram
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """It runs as something else than it should."""

    program: str
    unit: Unit
    running: ObservedProgram
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """It runs as it should."""

    program: str
    unit: Unit
    running: ObservedProgram
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Somebody has stopped it by hand, or has to start it so, and nobody has asked for it since."""

    program: str
    unit: Unit
    running: ObservedProgram | None
    reasons: tuple[str, ...]


Action: TypeAlias = Start | Stop | Replace | Keep | Leave

OWN_FOLDER = "what stands in the service's own folder"
_VERBS = {Start: "start", Stop: "stop", Replace: "replace", Keep: "keep", Leave: "keep"}


def diff_generation(
    generation: Generation,
    observed: Observed,
    facts: Mapping[str, Mapping[str, Any]],
    left_stopped: Collection[str] = (),
) -> tuple[Action, ...]:
    """What has to happen, stops first; programs in ``left_stopped`` are not started.

    ``facts`` maps store names to what is known about those renderings; with both sides of a replacement in it, the
    reasons name keys and files.
    """
    running = {program.name: program for program in observed.programs}
    wanted = {unit.name for unit in generation.units}
    stops = [
        Stop(program=program.name, running=program, reasons=("it is not part of what this box runs any more",))
        for program in sorted(observed.programs, key=lambda program: program.name)
        if program.name not in wanted
    ]
    decisions = (_decide(unit, running.get(unit.name), facts) for unit in generation.units)
    return (*stops, *(_leave_or_start(d, left_stopped) if isinstance(d, Start) else d for d in decisions))


def differing(generation: Generation, observed: Observed) -> tuple[str, ...]:
    """Store names whose facts ``diff_generation`` wants: both sides of every replacement."""
    fingerprints = {program.name: program for program in observed.programs}
    names = []
    for unit in generation.units:
        running = fingerprints.get(unit.name)
        if running is not None and running.fingerprint != unit.fingerprint:
            names += [running.store_name, unit.store_name]
    return tuple(names)


def stopped_by(actions: Iterable[Action]) -> list[str]:
    """Names of the programs that stop, for a moment or for good."""
    return [action.program for action in actions if isinstance(action, Replace | Stop)]


def verb_of(action: Action) -> str:
    """The action as users read it: start, stop, replace or keep."""
    return _VERBS[type(action)]


def changes_something(actions: Iterable[Action]) -> bool:
    return any(not isinstance(action, Keep | Leave) for action in actions)


def _leave_or_start(start: Start, left_stopped: Collection[str]) -> Leave | Start:
    if start.unit.by_hand:
        reason = "only a person starts it"
    elif start.program in left_stopped:
        reason = "it was stopped by hand"
    else:
        return start
    return Leave(program=start.program, unit=start.unit, running=start.running, reasons=(reason,))


def _decide(unit: Unit, running: ObservedProgram | None, facts: Mapping[str, Mapping[str, Any]]) -> Action:
    if running is None:
        return Start(program=unit.name, unit=unit, running=None, reasons=("it is not running",))
    if running.state not in {"starting", "running"}:
        return Start(program=unit.name, unit=unit, running=running, reasons=(_why_down(running),))
    if running.fingerprint != unit.fingerprint:
        reasons = explain_change(facts.get(running.store_name), facts.get(unit.store_name))
        return Replace(program=unit.name, unit=unit, running=running, reasons=reasons)
    return Keep(program=unit.name, unit=unit, running=running, reasons=("nothing that it uses has changed",))


def _why_down(running: ObservedProgram) -> str:
    match running.state:
        case "stopped":
            return "it is stopped"
        case "stopping":
            return "it is being stopped"
        case "failed":
            return f"it has failed{_after(running.last_exit)}"
        case "backoff":
            return f"it keeps dying{_after(running.last_exit)}"
        case "starting" | "running":
            return "it is running"
        case _ as unreachable:
            assert_never(unreachable)


def _after(last: LastExit | None) -> str:
    return "" if last is None else f" ({last.words})"


def explain_change(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Which keys, in which files, make one rendering differ from another."""
    if old is None or new is None:
        return ("it runs as something else than it should",)
    versions = _explain_versions(old.get("versions", {}), new.get("versions", {}))
    code = _explain_code(old.get("code"), new.get("code"))
    reasons = [*code, *_explain_env(old["env"], new["env"], versions), *_explain_rest(old, new)]
    return tuple(reasons) or ("bootstrap itself starts it in another way now",)


def _explain_code(old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> list[str]:
    before, after = (
        (OWN_FOLDER, OWN_FOLDER) if code is None else (code["folder"], code["words"]) for code in (old, new)
    )
    return [] if before[0] == after[0] else [f"code is now {after[1]}, was {before[1]}"]


def _explain_versions(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """What to say of secrets beside the file that refers to them."""
    before = {key: f"{old[key]} → " for key in new if key in old and old[key] != new[key]}
    return {key: f", version {before.get(key, '')}{version}" for key, version in new.items()}


def _explain_env(old: Mapping[str, list[str]], new: Mapping[str, list[str]], versions: Mapping[str, str]) -> list[str]:
    reasons = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before is None and after is not None:
            reasons.append(f"{key} is set ({after[1]})")
        elif after is None and before is not None:
            reasons.append(f"{key} is gone (it was set in {before[1]})")
        elif before is not None and after is not None and before[0] != after[0]:
            moved = "" if before[1] == after[1] else f", before in {before[1]}"
            reasons.append(f"{key} has changed ({after[1]}{versions.get(key, '')}{moved})")
    return reasons


def _explain_rest(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    words = {
        "command": "its command has",
        "directory": "its directory has",
        "user": "its user has",
        "limits": "its limits have",
        "stop": "the way it is stopped has",
        "restart": "its restart policy has",
        "finish": "its finish script has",
        "control": "its control scripts have",
        "log": "its logger has",
    }
    before, after = ({**facts, "directory": _inner_directory(facts), "stop": _own_stop(facts)} for facts in (old, new))
    if ("code" in old) != ("code" in new):
        del words["directory"]  # it is another one of necessity
    return [f"{word} changed ({new['file']})" for key, word in words.items() if before.get(key) != after.get(key)]


def _own_stop(facts: Mapping[str, Any]) -> dict[str, Any]:
    """How the definition has it stopped; whether that takes the whole group follows from its command."""
    return {key: value for key, value in facts.get("stop", {}).items() if key != "group"}


def _inner_directory(facts: Mapping[str, Any]) -> str | None:
    """The working directory as the definition has it, where the folder is a checkout's."""
    directory: str | None = facts.get("directory")
    return directory.removeprefix(facts["code"]["folder"]) if directory and "code" in facts else directory
