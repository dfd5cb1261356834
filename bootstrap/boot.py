"""The line, written out once; it decides nothing.

    tags ─► identity ─► plan ─► environment ─► generation ─► actions ─► verdicts

It is the same line at boot, on a live box for the hundredth time, on a laptop and, without its last step, in ``plan``.
Inputs that have not changed since they were rendered are not read again: then the line goes on from ``generation``.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from bootstrap.errors import BootstrapError
from bootstrap.frozen import dataclass
from bootstrap.reconcile import Action, Keep, changes_something, diff_generation, differing, stopped_by
from bootstrap.rendering import Generation, Rendering, facts_of
from bootstrap.request import Outcome, Request, Say
from bootstrap.world import by_hand, clock, inputs, lock, store, supervision, supervisord
from bootstrap.world.facts import read_facts
from bootstrap.world.ready_record import ReadyRecord
from bootstrap.world.tags import Machine, read_last_identity, read_tags, write_last_identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bootstrap.box import Box
    from bootstrap.definition import Catalog, Mode
    from bootstrap.observed import Observed
    from bootstrap.plan import Plan
    from bootstrap.tag import Tag
    from bootstrap.variable import Account, Environment
    from bootstrap.world.code.checkouts import Checkouts
    from bootstrap.world.supervision import Supervision


@dataclass(frozen=True, slots=True, kw_only=True)
class Layered:
    """The line as far as the environments; accounts and environments are by program name."""

    catalog: Catalog
    order: tuple[str, ...]  # of the layers
    plan: Plan
    accounts: Mapping[str, Account]
    environments: Mapping[str, Environment]
    versions: Mapping[str, str]  # of secrets, by the file that refers to them


def up(box: Box, request: Request, say: Say, announce: Callable[[tuple[Action, ...]], None]) -> Outcome:
    """Converge; safe to repeat and to kill at any moment. ``announce`` hears the actions before the first of them."""
    deadline = clock.now() + request.timeout_s
    store.open_state(box)
    with lock.held(box, "up", wait_s=request.lock_wait_s, say=lambda text: say("", text)):
        store.open_state(box)  # once more: a ``down`` may have removed it while we waited
        store.settle_format(box)
        store.forget_earlier_boot(box)
        store.remove_leftovers(box)
        with supervision.reached(box) as supervised:
            with request.witness.phase("identity"):
                tags = gather_tags(box, request, say)
            request.witness.see_tags(tags)
            rendering = _remember_or_render(box, tags, request, say)
            outcome = _converge(box, rendering, request, supervised, deadline, say, announce)
            return _register(box, outcome, request, say)


def prepare(box: Box, request: Request, say: Say) -> Generation:
    """The line as far as ``generation``: everything is fetched, checked and written, and nothing is started."""
    store.open_state(box)
    with lock.held(box, "prepare", wait_s=request.lock_wait_s, say=lambda text: say("", text)):
        store.settle_format(box)
        store.forget_earlier_boot(box)
        with request.witness.phase("identity"):
            tags = gather_tags(box, request, say)
        request.witness.see_tags(tags)
        return _remember_or_render(box, tags, request, say).generation


def restore(
    box: Box,
    generation_id: str | None,
    request: Request,
    say: Say,
    announce: Callable[[tuple[Action, ...]], None],
    doing: str = "restore",
) -> Outcome | None:
    """The line from ``generation`` on: run one exactly as it was rendered; no tag, file or secret is read.

    Without an id it is the one in force. ``None`` if it, or a program of it, is not kept any more.
    """
    deadline = clock.now() + request.timeout_s
    with lock.held(box, doing, wait_s=request.lock_wait_s, say=lambda text: say("", text)):
        store.settle_format(box)
        store.forget_earlier_boot(box)
        generation = store.read_current(box) if generation_id is None else store.read_generation(box, generation_id)
        if generation is None or not store.has_entries(box, generation):
            return None
        with supervision.reached(box) as supervised:
            rendering = Rendering(generation=generation, entries=())
            return _converge(box, rendering, request, supervised, deadline, say, announce)


def plan(box: Box, request: Request, say: Say) -> Outcome:
    """The same line without its last step: changes nothing."""
    from bootstrap.world import preflight  # noqa: PLC0415 - an `up` that has nothing to do does without

    tags = gather_tags(box, request, say)
    rendering = render(box, tags, request, say)
    supervisor = supervisord.connect(box)
    observed = supervisor.observe() if supervisor else supervisord.NOTHING
    actions = diff(box, rendering, observed)
    problems = preflight.find_problems(box, actions, facts_of(rendering.entries))
    for problem in problems:
        say("", f"up would fail: {problem}")
    failures = {"": "\n".join(problems)} if problems else {}
    return Outcome(generation=rendering.generation, actions=actions, results={}, failures=failures)


def gather_tags(box: Box, request: Request, say: Say) -> tuple[Tag, ...]:
    """The tags of this box, from whatever source applies."""
    if request.last_identity:
        return read_last_identity(box, request.tags)

    def read_modes() -> dict[str, Mode]:
        from bootstrap.world import sources  # noqa: PLC0415 - most tag sources never ask

        return sources.read_modes(box)

    machine = Machine(say=lambda text: say("", text), most_s=request.tag_wait_s)
    return read_tags(box, request.tags, request.tags_file, read_modes, machine)


def render(
    box: Box, tags: tuple[Tag, ...], request: Request, say: Say, checkouts: Checkouts | None = None
) -> Rendering:
    """tags ─► identity ─► plan ─► environment ─► generation."""
    layered = layer(box, tags, request, say, checkouts=checkouts)
    mention_unused(box, layered, say)
    return render_layered(box, layered, request)


def mention_unused(box: Box, layered: Layered, say: Say) -> None:
    """Say which tags and files are for nothing, though somebody may believe otherwise."""
    from bootstrap.plan import find_idle_refs  # noqa: PLC0415 - see layer
    from bootstrap.world.config.tree import read_misplaced  # noqa: PLC0415 - likewise

    for why in find_idle_refs(layered.plan, layered.catalog):
        say("", f"not used: tag {why}")
    for one in read_misplaced(box, layered.catalog, layered.order):
        say("", f"not read: {one.place}: {one.text}")


def render_layered(box: Box, layered: Layered, request: Request) -> Rendering:
    """plan and environment ─► generation."""
    from bootstrap.generation import render_generation  # noqa: PLC0415 - see layer
    from bootstrap.world.tools import asks_for_tools  # noqa: PLC0415 - likewise

    with request.witness.phase("generation"):
        rendering = render_generation(
            layered.plan,
            layered.environments,
            layered.accounts,
            me=os.geteuid(),
            store=box.store,
            key=store.read_key(box, keep=not request.dry),
            versions=layered.versions,
        )
    return replace(rendering, is_whole=not asks_for_tools(layered.plan))


def layer(
    box: Box,
    tags: tuple[Tag, ...],
    request: Request,
    say: Say,
    revise: Callable[[Plan], Plan] = lambda plan: plan,
    checkouts: Checkouts | None = None,
) -> Layered:
    """tags ─► identity ─► plan ─► environment; ``revise`` may add to the plan, ``checkouts`` has asked already."""
    # What only this part of the line needs is imported here: an `up` that changes nothing does without YAML.
    from bootstrap.catalog import parse_catalog  # noqa: PLC0415
    from bootstrap.environ import layer_environments, needed_references  # noqa: PLC0415
    from bootstrap.identity import parse_identity  # noqa: PLC0415
    from bootstrap.plan import resolve_plan  # noqa: PLC0415
    from bootstrap.world.accounts import read_accounts  # noqa: PLC0415
    from bootstrap.world.code.bring import bring_code  # noqa: PLC0415
    from bootstrap.world.config.layers import read_layering  # noqa: PLC0415
    from bootstrap.world.references import Asking, read_secrets  # noqa: PLC0415
    from bootstrap.world.sources import read_sources  # noqa: PLC0415
    from bootstrap.world.tools import bring_tools  # noqa: PLC0415

    with request.witness.phase("sources"):
        identity = parse_identity(tags)
        catalog = parse_catalog(read_sources(box))
        wanted = revise(resolve_plan(identity, catalog))
        accounts = read_accounts(wanted, say)
        wanted = bring_code(box, wanted, accounts, request, say, checkouts)
        wanted = bring_tools(box, wanted, accounts)
    with request.witness.phase("environment"):
        layering = read_layering(box, wanted)
        references = needed_references(wanted, layering)
        asking = Asking(
            mode=identity.mode, refresh=request.refresh_secrets, keep=not request.dry, say=lambda text: say("", text)
        )
        secrets = read_secrets(box, references, asking)
        values = {reference: secret.value for reference, secret in secrets.items()}
        environments = layer_environments(wanted, layering, accounts, values, box)
    versions = {file: secrets[reference].version for reference, need in references.items() for file in need.files}
    return Layered(
        catalog=catalog,
        order=layering.order,
        plan=wanted,
        accounts=accounts,
        environments=environments,
        versions=versions,
    )


def _remember_or_render(box: Box, tags: tuple[Tag, ...], request: Request, say: Say) -> Rendering:
    stamp = inputs.read_stamp(box, tags)
    remembered = None if request.refresh_secrets else store.read_remembered(box, stamp.content)
    checkouts = None
    if remembered is not None:
        if remembered.sources:  # a file that has not changed says nothing about a branch that may have moved
            from bootstrap.world.code.checkouts import open_checkouts  # noqa: PLC0415 - only with sources

            checkouts = open_checkouts(box, request, say)
        if checkouts is None or checkouts.is_current(remembered):
            return Rendering(generation=remembered, entries=())
    rendering = render(box, tags, request, say, checkouts)
    store.write_generation(box, rendering)
    write_last_identity(box, tags)
    if stamp.is_settled and rendering.is_whole:
        store.write_remembered(box, stamp.content, rendering.generation)
    return rendering


def _converge(
    box: Box,
    rendering: Rendering,
    request: Request,
    supervised: Supervision,
    deadline: float,
    say: Say,
    announce: Callable[[tuple[Action, ...]], None],
) -> Outcome:
    """generation ─► actions ─► verdicts."""
    left_stopped = frozenset() if request.asked else by_hand.read_stopped(box)
    actions = diff(box, rendering, supervised.observe(), left_stopped)
    announce(actions)
    outcome = _apply(box, rendering, actions, supervised, request, deadline, say)
    if request.asked and (stopped := by_hand.read_stopped(box)):
        supervised.ensure(rendering.generation.units).want(stopped, "")  # one that `sv once` has started runs on
        by_hand.write_stopped(box, ())
    return outcome


def diff(
    box: Box, rendering: Rendering, observed: Observed, left_stopped: frozenset[str] = frozenset()
) -> tuple[Action, ...]:
    """generation ─► actions."""
    names = differing(rendering.generation, observed)
    facts = read_facts(box, names) | facts_of(rendering.entries, names)
    return diff_generation(rendering.generation, observed, facts, left_stopped)


def _apply(
    box: Box,
    rendering: Rendering,
    actions: tuple[Action, ...],
    supervised: Supervision,
    request: Request,
    deadline: float,
    say: Say,
) -> Outcome:
    generation = rendering.generation
    known = ReadyRecord(box)
    kept = [action.running for action in actions if isinstance(action, Keep)]
    if supervised.lives and not changes_something(actions) and all(known.knows(program) for program in kept):
        store.switch_current(box, generation)
        return Outcome(
            generation=generation, actions=actions, results={a.program: "kept" for a in actions}, failures={}
        )
    # An `up` that has nothing to do does without these.
    from bootstrap.world import preflight, processes  # noqa: PLC0415
    from bootstrap.world.apply import Apply  # noqa: PLC0415
    from bootstrap.world.ec2 import traffic  # noqa: PLC0415

    with request.witness.phase("apply"):
        processes.refuse_own_end(box, stopped_by(actions))
        blocked = supervised.sweep(say)
        blocked |= preflight.check(box, actions)
        previous = store.read_current(box)
        before = [action.running.store_name for action in actions if action.running is not None]
        supervisor = supervised.ensure(generation.units)
        traffic.leave_before(box, stopped_by(actions), lambda text: say("", text), force=request.force)
    with request.witness.phase("ready"):
        apply = Apply(box, supervisor, generation, previous, processes.own_mark(box), say)
        outcome = apply.run(actions, deadline, blocked)
    store.write_failed(box, generation, outcome.failures)
    store.switch_current(box, generation)
    store.prune(box, generation, before)
    if generation.sources:
        from bootstrap.world.code import checkouts  # noqa: PLC0415 - only with sources

        checkouts.tidy(box, (*before, *(unit.store_name for unit in generation.units)))
    results = {action.program: "kept" for action in actions} | dict(outcome.results)
    return Outcome(generation=generation, actions=actions, results=results, failures=dict(outcome.failures))


def _register(box: Box, outcome: Outcome, request: Request, say: Say) -> Outcome:
    """Let load balancer and name send requests, once what they reach is ready."""
    if outcome.generation.traffic is None and not os.path.exists(box.traffic):
        return outcome
    from bootstrap.traffic import parse_traffic  # noqa: PLC0415 - few boxes have either
    from bootstrap.world.ec2 import traffic  # noqa: PLC0415 - likewise

    wanted = parse_traffic(outcome.generation.traffic)
    if wanted is not None and wanted.serves((*outcome.failures, *by_hand.read_stopped(box))):
        return outcome
    try:
        with request.witness.phase("registered"):
            if wanted is None:
                traffic.leave(box, lambda text: say("", text), force=request.force)
            else:
                traffic.join(box, wanted, lambda text: say("", text))
    except BootstrapError as error:
        return replace(outcome, failures=outcome.failures | {"": str(error)})
    return outcome
