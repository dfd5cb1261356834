"""``bootstrap config diff``: what differs between two states of the configuration, program by program."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from bootstrap.cli.config import visible
from bootstrap.cli.output import print_json
from bootstrap.config.explanation import MASK
from bootstrap.digest import digest_of
from bootstrap.errors import Refused
from bootstrap.spelling import did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bootstrap.box import Box
    from bootstrap.cli.settings import Settings
    from bootstrap.config.edits import KeyChange
    from bootstrap.config.survey import Surveyed

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_COLOURS = {"added": "green", "removed": "red", "changed": "yellow"}
_SIDES = 2
Pairs: TypeAlias = "Iterator[tuple[str, list[KeyChange]]]"  # what is compared, and what differs


@click.command(
    short_help="What differs between revisions, modes, services, or from what runs here.",
    epilog="Example: bootstrap config diff v1.4 main --mode production --service api",
)
@click.argument("revisions", nargs=-1, metavar="[REV [REV]]")
@click.option("--modes", metavar="A,B", help="Compare two modes of the working tree.")
@click.option(
    "--services", metavar="A,B", help="Compare two services of the working tree, by what they have in common."
)
@click.option("--box", "with_box", is_flag=True, help="Compare what runs here with the working tree, by digests.")
@click.option("--mode", metavar="MODE", help="Only this mode.")
@click.option("--service", metavar="SERVICE", help="Only this service.")
@click.option("--reveal", is_flag=True, help="Show secrets instead of masking them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def diff(  # noqa: PLR0913 - one for each option
    settings: Settings,
    *,
    revisions: tuple[str, ...],
    modes: str | None,
    services: str | None,
    with_box: bool,
    mode: str | None,
    service: str | None,
    reveal: bool,
    as_json: bool,
) -> None:
    """Compare HEAD, or a revision, with the working tree; two revisions; two modes; two services; or this box.

    Secrets are masked, with a digest that is equal for equal values in this one output and means nothing elsewhere.
    """
    if len(revisions) > _SIDES or sum(map(bool, (revisions, modes, services, with_box))) > 1:
        raise click.UsageError("compare one pair: up to two revisions, or --modes, or --services, or --box")
    found = _Found(settings.box, mode, service)
    if modes is not None:
        pairs = found.between_modes(*_two(modes, "mode"))
    elif services is not None:
        pairs = found.between_services(*_two(services, "service"))
    elif with_box:
        pairs = found.from_box()
    else:
        pairs = found.between_revisions(*revisions)
    show = _Show(reveal=reveal)
    changed = [(name, changes) for name, changes in pairs if changes]
    if as_json:
        print_json(
            {"programs": [{"program": name, "changes": [show.document(c) for c in found]} for name, found in changed]}
        )
        return
    if not changed:
        click.echo("no difference")
    for line in _lines(changed, show):
        click.echo(line)


class _Found:
    """Pairs of environments, and what differs in them; ``mode`` and ``service`` say which to look at."""

    def __init__(self, box: Box, mode: str | None, service: str | None) -> None:
        self._box = box
        self._mode = mode
        self._service = service

    def between_revisions(self, before: str = "HEAD", after: str | None = None) -> Pairs:
        from bootstrap.world.config import revisions  # noqa: PLC0415 - not for --help

        repository = revisions.read_repository(self._box)
        old = revisions.survey_revision(self._box, repository, before)
        if after is None:
            new = revisions.survey_working_tree(self._box)
        else:
            new = revisions.survey_revision(self._box, repository, after)
        modes, services = ({**old.catalog.modes, **new.catalog.modes}, {**old.catalog.services, **new.catalog.services})
        self._refuse_unknown(modes, services)
        return self._pair(self._by_place(old.surveyed), self._by_place(new.surveyed))

    def between_modes(self, *modes: str) -> Pairs:
        survey = self._survey(modes=modes)
        old, new = ({one.program.name: one for one in survey if one.mode == mode} for mode in modes)
        return self._pair(old, new)

    def between_services(self, *services: str) -> Pairs:
        """Processes that both have, in modes that run both."""
        survey = self._survey(services=services)
        old, new = (
            {f"{one.program.process.name} in {one.mode}": one for one in survey if one.program.service.name == service}
            for service in services
        )
        both = old.keys() & new.keys()
        return self._pair({name: old[name] for name in both}, {name: new[name] for name in both})

    def from_box(self) -> Pairs:
        from bootstrap.world.config.running import diff_running  # noqa: PLC0415 - not for --help

        return diff_running(self._box, self._survey())

    def _survey(self, modes: Iterable[str] = (), services: Iterable[str] = ()) -> tuple[Surveyed, ...]:
        from bootstrap.world.config.revisions import survey_working_tree  # noqa: PLC0415 - not for --help

        survey = survey_working_tree(self._box)
        self._refuse_unknown(survey.catalog.modes, survey.catalog.services, modes, services)
        return tuple(one for one in survey.surveyed if self._is_wanted(one))

    def _refuse_unknown(
        self, modes: Iterable[str], services: Iterable[str], asked: Iterable[str] = (), wanted: Iterable[str] = ()
    ) -> None:
        typed = [("mode", name, list(modes)) for name in (*asked, self._mode) if name is not None]
        typed += [("service", name, list(services)) for name in (*wanted, self._service) if name is not None]
        for noun, name, known in typed:
            if name not in known:
                raise Refused(
                    f"cannot compare {noun} {quoted(name)}: no such {noun}{did_you_mean(name, known)}"
                    f" ({', '.join(sorted(known))})"
                )

    def _is_wanted(self, one: Surveyed) -> bool:
        return self._mode in {None, one.mode} and self._service in {None, one.program.service.name}

    def _by_place(self, surveyed: Iterable[Surveyed]) -> dict[str, Surveyed]:
        return {f"{one.program.name} in {one.mode}": one for one in surveyed if self._is_wanted(one)}

    def _pair(self, old: Mapping[str, Surveyed], new: Mapping[str, Surveyed]) -> Pairs:
        from bootstrap.config.edits import diff_environments  # noqa: PLC0415 - not for --help
        from bootstrap.variable import Environment  # noqa: PLC0415 - likewise

        nothing = Environment(variables={}, layers=())
        for name in sorted({*old, *new}):
            sides = [side.get(name) for side in (old, new)]
            before, after = (nothing if one is None else one.environment for one in sides)
            hidden = [key for one in sides if one is not None for key in one.program.service.secret]
            yield name, diff_environments(before, after, hidden)


class _Show:
    """Values as people may see them."""

    def __init__(self, *, reveal: bool) -> None:
        self._reveal = reveal
        self._key = os.urandom(16)

    def before(self, change: KeyChange) -> str:
        return self._value(change.before, is_hidden=change.hides_before)

    def after(self, change: KeyChange) -> str:
        return self._value(change.after, is_hidden=change.hides_after)

    def _value(self, value: str | None, *, is_hidden: bool) -> str:
        if value is None:
            return "(not set)"
        if not is_hidden or self._reveal:
            return visible(value)
        digest = digest_of(value.encode(errors="surrogateescape"), 3, self._key)
        return f"{MASK} ({digest})"

    def document(self, change: KeyChange) -> dict[str, Any]:
        return {
            "key": change.key,
            "kind": change.kind,
            "before": None if change.before is None else self.before(change),
            "after": None if change.after is None else self.after(change),
            "file": change.file,
            "masked": (change.hides_before or change.hides_after) and not self._reveal,
        }


def _lines(changed: list[tuple[str, list[KeyChange]]], show: _Show) -> Iterator[str]:
    """Programs that differ in the same way are named together."""
    groups: dict[tuple[KeyChange, ...], list[str]] = {}
    for name, changes in changed:
        groups.setdefault(tuple(changes), []).append(name)
    for alike, names in groups.items():
        yield click.style(", ".join(names), bold=True)
        for change in alike:
            sign = click.style(_SIGNS[change.kind], fg=_COLOURS[change.kind])
            yield f"  {sign} {change.key}  {_arrow(change, show)}  ({change.file})"


def _arrow(change: KeyChange, show: _Show) -> str:
    match change.kind:
        case "added":
            return show.after(change)
        case "removed":
            return show.before(change)
        case _:
            return f"{show.before(change)} → {show.after(change)}"


def _two(text: str, noun: str) -> tuple[str, str]:
    names = text.split(",")
    if len(names) != _SIDES:
        raise click.UsageError(f"name two {noun}s with a comma between them, not {quoted(text)}")
    return names[0], names[1]
