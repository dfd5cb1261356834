"""The line, looked along without being walked: what would go wrong, before it does.

Every check is made, whatever the others find; one that needs what another would have found out is said to be skipped.
Nothing on the machine changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from bootstrap import boot
from bootstrap.checkup import judge_identity, judge_tags
from bootstrap.diagnosis import Finding, describe_error, fail, ok, skip, warn
from bootstrap.errors import BootstrapError
from bootstrap.identity import parse_identity
from bootstrap.reconcile import changes_something, verb_of
from bootstrap.traffic import parse_traffic
from bootstrap.world import by_hand, clock
from bootstrap.world.doctor import aws, commands, instance, limits, machine, state, supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bootstrap.boot import Layered
    from bootstrap.box import Box
    from bootstrap.identity import Identity
    from bootstrap.observed import Observed
    from bootstrap.reconcile import Action
    from bootstrap.rendering import Rendering
    from bootstrap.request import Request
    from bootstrap.tag import Tag
    from bootstrap.world.doctor.instance import Metadata
    from bootstrap.world.ec2.instance import Instance

_TAG_PATIENCE_S = 5.0  # a tag that is only late is worth a line, not two minutes
_REPORT = "please report it; the other checks are not concerned"


@dataclass(slots=True, kw_only=True)
class Visit:
    """What is looked at, and what the checks so far have found out; whoever needs that names the check."""

    box: Box
    request: Request
    asks_aws: bool
    tags: tuple[Tag, ...] = field(init=False)  # by tags
    identity: Identity = field(init=False)  # by identity
    layered: Layered = field(init=False)  # by plan
    rendering: Rendering = field(init=False)  # by plan
    observed: Observed = field(init=False)  # by supervisor
    actions: tuple[Action, ...] = field(init=False)  # by changes
    metadata: Metadata | None = None  # by metadata

    @property
    def instance(self) -> Instance | None:
        return None if self.metadata is None else self.metadata.instance


Look: TypeAlias = "Callable[[Visit], Iterator[Finding]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing to look at; ``way_out`` is for problems that come without one."""

    name: str
    look: Look
    needs: tuple[str, ...] = ()
    way_out: str = "mend that, and look again"
    is_aws: bool = False  # only where AWS is to be asked


def examine(visit: Visit) -> Iterator[Finding]:
    """Every finding, as soon as it is known."""
    open_questions: set[str] = set()
    for check in CHECKS:
        if check.is_aws and not visit.asks_aws:
            continue
        unknown = [name for name in check.needs if name in open_questions]
        for finding in [_skip(unknown)] if unknown else _look(check, visit):
            if finding.level in {"fail", "skip"}:
                open_questions.add(check.name)
            yield replace(finding, check=check.name)


def _skip(unknown: list[str]) -> Finding:
    return skip(f"not looked at: it needs {' and '.join(unknown)}")


def _look(check: Check, visit: Visit) -> Iterator[Finding]:
    try:
        for finding in check.look(visit):
            yield _with_way_out(finding, check)
    except BootstrapError as error:
        for finding in describe_error(error):
            yield _with_way_out(finding, check)
    except Exception as error:  # noqa: BLE001 - a check that breaks must not keep the others from being made
        yield fail(f"this check is broken: {type(error).__name__}", _REPORT, _place_of(error))


def _with_way_out(finding: Finding, check: Check) -> Finding:
    if finding.way_out is not None or finding.level in {"ok", "skip"}:
        return finding
    return replace(finding, way_out=check.way_out)


def _place_of(error: Exception) -> str:
    """Where it happened; what the error says is left out, because it may hold any value."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "unknown" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def _look_at_tags(visit: Visit) -> Iterator[Finding]:
    visit.tags = boot.gather_tags(visit.box, replace(visit.request, tag_wait_s=_TAG_PATIENCE_S), lambda *_: None)
    yield from judge_tags(visit.tags)


def _look_at_identity(visit: Visit) -> Iterator[Finding]:
    visit.identity = parse_identity(visit.tags)
    yield from judge_identity(visit.identity, clock.wall())


def _look_at_definitions(visit: Visit) -> Iterator[Finding]:
    from bootstrap.catalog import parse_catalog  # noqa: PLC0415 - brings YAML, not for --help
    from bootstrap.world.sources import read_sources  # noqa: PLC0415 - likewise

    catalog = parse_catalog(read_sources(visit.box))
    yield ok(f"{_count(len(catalog.services), 'service')} and {_count(len(catalog.modes), 'mode')}")


def _look_at_plan(visit: Visit) -> Iterator[Finding]:
    """Everything that `plan` reports, by the same calls; and what it says on its way."""
    said: list[str] = []
    request = replace(visit.request, dry=True)
    try:
        visit.layered = boot.layer(visit.box, visit.tags, request, lambda _, text: said.append(text))
        boot.mention_unused(visit.box, visit.layered, lambda _, text: said.append(text))
        visit.rendering = boot.render_layered(visit.box, visit.layered, request)
    except BootstrapError:
        yield from map(_describe_notice, said)
        raise
    yield from map(_describe_notice, said)
    programs = visit.layered.plan.programs
    if not programs:
        yield warn("no program is defined for this box", "define one, or name another service or process with the tags")
        return
    yield ok(f"{_count(len(programs), 'program')}; definitions, layers and secrets give each its environment")


def _describe_notice(text: str) -> Finding:
    return warn(text, "up goes on all the same; where that will not do, mend it first")


def _look_at_changes(visit: Visit) -> Iterator[Finding]:
    stopped = by_hand.read_stopped(visit.box)
    visit.actions = boot.diff(visit.box, visit.rendering, visit.observed)
    if not changes_something(visit.actions):
        yield ok("up would change nothing")
        return
    verbs = [verb_of(action) for action in visit.actions]
    words = [f"{verb} {verbs.count(verb)}" for verb in ("start", "replace", "stop") if verb in verbs]
    yield ok(f"up would {_enumerate(words)} of {_count(len(verbs), 'program')}")
    if stopped:
        yield ok(f"up would start what was stopped by hand: {', '.join(sorted(stopped))}")


def _look_at_commands(visit: Visit) -> Iterator[Finding]:
    return commands.examine(visit.layered.plan, visit.layered.environments)


def _look_at_supervisor(visit: Visit) -> Iterator[Finding]:
    visit.observed, findings = supervisor.examine(visit.box)
    yield from findings


def _look_at_metadata(visit: Visit) -> Iterator[Finding]:
    visit.metadata = instance.read_metadata()
    yield from instance.examine(visit.metadata)


def _look_at_clock(visit: Visit) -> Iterator[Finding]:
    return instance.examine_clock(visit.metadata)


def _look_at_group(visit: Visit) -> Iterator[Finding]:
    return aws.examine_group(visit.instance)


def _look_at_described_tags(visit: Visit) -> Iterator[Finding]:
    return aws.examine_tags(visit.instance, shows_tags=visit.metadata is None or visit.metadata.shows_tags)


def _look_at_target_groups(visit: Visit) -> Iterator[Finding]:
    generation = visit.rendering.generation
    return aws.examine_target_groups(visit.instance, parse_traffic(generation.traffic), generation)


def _look_at_dns(visit: Visit) -> Iterator[Finding]:
    return aws.examine_name(visit.instance, parse_traffic(visit.rendering.generation.traffic))


def _look_at_bucket(visit: Visit) -> Iterator[Finding]:
    from bootstrap.world.config.layers import read_box_settings  # noqa: PLC0415 - not for --help

    return aws.examine_bucket(visit.identity.bucket or read_box_settings(visit.box).bucket)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _enumerate(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


CHECKS = (
    Check(name="tags", look=_look_at_tags, way_out="correct the tag where it is set"),
    Check(name="identity", look=_look_at_identity, needs=("tags",), way_out="correct the tag where it is set"),
    Check(name="definitions", look=_look_at_definitions, way_out="correct the file"),
    Check(name="plan", look=_look_at_plan, needs=("identity", "definitions"), way_out="correct the tags, or the files"),
    Check(name="tools", look=lambda _: machine.examine_tools()),
    Check(name="commands", look=_look_at_commands, needs=("plan",)),
    Check(name="descriptors", look=lambda visit: limits.examine_descriptors(visit.layered.plan), needs=("plan",)),
    Check(name="memory", look=lambda visit: limits.examine_memory(visit.box, visit.layered.plan), needs=("plan",)),
    Check(name="state", look=lambda visit: state.examine(visit.box)),
    Check(name="space", look=lambda visit: state.examine_space(visit.box)),
    Check(name="run", look=lambda visit: state.examine_run(visit.box)),
    Check(name="lock", look=lambda visit: state.examine_lock(visit.box), needs=("state",)),
    Check(name="supervisor", look=_look_at_supervisor, needs=("state",)),
    Check(name="changes", look=_look_at_changes, needs=("plan", "supervisor")),
    Check(name="ports", look=lambda visit: machine.examine_ports(visit.box, visit.actions), needs=("changes",)),
    Check(name="metadata", look=_look_at_metadata, is_aws=True),
    Check(name="clock", look=_look_at_clock, needs=("metadata",), is_aws=True),
    Check(name="described-tags", look=_look_at_described_tags, needs=("metadata",), is_aws=True),
    Check(name="group", look=_look_at_group, needs=("metadata",), is_aws=True),
    Check(name="target-groups", look=_look_at_target_groups, needs=("plan", "metadata"), is_aws=True),
    Check(name="dns", look=_look_at_dns, needs=("plan", "metadata"), is_aws=True),
    Check(name="bucket", look=_look_at_bucket, needs=("identity", "metadata"), is_aws=True),
)
