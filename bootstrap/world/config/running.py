"""What runs on this box against what its configuration says now, by digests: values of the past are nowhere to be read.

References are compared by where they stand: what they stand for is the box's to resolve, with an ``up``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.config.edits import KeyChange
from bootstrap.errors import Unavailable
from bootstrap.generation import digest_value
from bootstrap.variable import Reference
from bootstrap.world import store, supervisord
from bootstrap.world.facts import read_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bootstrap.box import Box
    from bootstrap.config.survey import Surveyed


def diff_running(box: Box, surveyed: Iterable[Surveyed]) -> Iterator[tuple[str, list[KeyChange]]]:
    """Program by program; values are digests of the box's own. Raises Unavailable where nothing runs."""
    supervisor, current = supervisord.connect(box), store.read_current(box)
    if supervisor is None or current is None:
        raise Unavailable('cannot compare with this box: nothing runs here\n  way out: "bootstrap up"')
    running = {program.name: program.store_name for program in supervisor.observe().programs}
    facts = read_facts(box, running.values())
    key = store.read_key(box, keep=False)
    wanted = {
        one.program.name: one
        for one in surveyed
        if one.mode == current.mode and current.service in {None, one.program.service.name}
    }
    for name in sorted(running.keys() & wanted.keys()):
        known = facts.get(running[name])
        if known is not None:
            yield name, list(_diff(known["env"], wanted[name], key))


def _diff(env: dict[str, list[str]], surveyed: Surveyed, key: bytes) -> Iterator[KeyChange]:
    environment, service = surveyed.environment, surveyed.program.service
    for name in sorted({*env, *environment.variables}):
        old, variable = env.get(name), environment.variables.get(name)
        file = variable.file if variable else old[1] if old else ""
        if not file.startswith(("config/", "services/")):
            continue  # bootstrap sets it, by what it finds on the box
        if variable is None or old is None:
            yield KeyChange(
                key=name,
                kind="removed" if variable is None else "added",
                before=None if old is None else _shown(old[0]),
                after=None if variable is None else _shown(digest_value(service, variable.value, key)),
                file=file,
                hides_before=False,
                hides_after=False,
            )
            continue
        is_reference = isinstance(environment.history(name)[-1][1].value, Reference)
        now = old[0] if is_reference else digest_value(service, variable.value, key)
        if now != old[0] or (is_reference and variable.file != old[1]):
            yield KeyChange(
                key=name,
                kind="changed",
                before=_shown(old[0]),
                after=_shown(now),
                file=variable.file,
                hides_before=False,
                hides_after=False,
            )


def _shown(digest: str) -> str:
    return f"({digest[:6]})"
