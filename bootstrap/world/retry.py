"""The one retry of the house: try until it works or the deadline has passed.

Full jitter: each pause is drawn from nothing up to a ceiling that doubles, so that a thousand boxes which failed
together do not come back together. The last pause is cut to end at the deadline and is followed by one last try.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from bootstrap.world import clock as house_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.world.clock import Clock

T = TypeVar("T")
_FIRST_S = 0.1


def retry_until(
    deadline: float,
    attempt: Callable[[], T],
    *,
    again_on: type[Exception] | tuple[type[Exception], ...],
    most_s: float = 5.0,
    clock: Clock = house_clock,
) -> T:
    """Call ``attempt`` until it returns; from ``deadline`` (of the same clock) on, its ``again_on`` errors are raised.

    It is called at least once; ``most_s`` is the highest ceiling of a pause.
    """
    ceiling = _FIRST_S
    while True:
        try:
            return attempt()
        except again_on:
            left_s = deadline - clock.now()
            if left_s <= 0:
                raise
        clock.sleep(min(_draw(ceiling), left_s))
        ceiling = min(ceiling * 2, most_s)


def _draw(ceiling: float) -> float:
    from random import uniform  # noqa: PLC0415 - costs 5 ms to import, and most runs never wait

    return uniform(0, ceiling)  # noqa: S311 - spreads load, protects nothing
