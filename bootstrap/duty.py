"""What a box does beside keeping its programs alive, in the words of the loop that gives it its turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bootstrap.observed import Observed
    from bootstrap.rendering import Generation

SELDOM_S = 3600.0  # of a duty that has nothing to do by itself


class Duty:
    """Every part may be left out. What raises BootstrapError is told, and holds up nobody else."""

    def begin(self) -> None:
        """The boot begins: nothing is known yet."""

    def fail(self, failures: tuple[str, ...]) -> None:
        """The boot has failed, in part or as a whole; called once for each attempt, after all that could be done."""

    def holds(self) -> str | None:
        """Why nothing may be started yet, ``None`` if it may."""
        return None

    def idle(self, why: str) -> None:
        """Everything is prepared, or there is nothing to run yet: the box waits, and that is well."""

    def keeps(self) -> bool:
        """Whether this process must stay although its boot has failed."""
        return False

    def settled(self) -> bool:
        """Whether the boot has ended well, as far as this duty can tell."""
        return True

    def turn(self, _generation: Generation, _observed: Observed) -> float:
        """Do what is due, without holding up the others; the answer is after how many seconds it wants another turn."""
        return SELDOM_S

    def rest(self, _last: Generation | None) -> None:
        """Nothing is in force, so there are no turns: called every few seconds for as long as that lasts.

        ``_last`` is what had the last turn, if anything had.
        """

    def drain(self) -> None:
        """Everything is about to stop: prepare for it, and return when it may begin."""

    def end(self) -> None:
        """Everything has stopped."""
