"""What is asked of the line, who hears how far it has come, and what has come of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field
from typing import TYPE_CHECKING, Literal, TypeAlias

from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from bootstrap.reconcile import Action
    from bootstrap.rendering import Generation
    from bootstrap.tag import Tag

Say: TypeAlias = Callable[[str, str], None]  # whom it concerns (a program, or "" for the box), what happens


class Witness:
    """Is told how far the line has come; this one takes no notice."""

    def phase(self, _name: str) -> AbstractContextManager[None]:
        """What is done inside of it is one phase: identity, sources, environment, generation, apply."""
        return nullcontext()

    def see_tags(self, tags: tuple[Tag, ...]) -> None:
        """The tags are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for: where the tags come from, how long things may take."""

    tags: tuple[str, ...] = ()
    tags_file: str | None = None
    last_identity: bool = False
    refresh_secrets: bool = False
    dry: bool = False  # nothing may be written
    code: Literal["newest", "kept"] = "newest"  # of services with a source: what it has now, or what this box has
    asked: bool = True  # by a person: then what was stopped by hand is started too
    tag_wait_s: float = float("inf")  # on EC2, for required tags: as long as is usual, or this if it is shorter
    lock_wait_s: float = 3600.0
    timeout_s: float = 120.0
    force: bool = False  # replace what gets requests even where its load balancer can't or must not be left
    witness: Witness = field(default_factory=Witness)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was found and done; a plan has no results."""

    generation: Generation
    actions: tuple[Action, ...]
    results: dict[str, str]
    failures: dict[str, str]
