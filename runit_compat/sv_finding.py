"""A word after ``sv``'s command → the services that it names: of a runsv somewhere, or programs of ours.

A path, and a name where `$SVDIR` is set, is runit's if a runsv lives there; else it is ours if it lies in our
`services/` or its last part is one of ours; else runit says what is wrong with it. A name without `$SVDIR` is ours if
we have it, and else runit's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runit_compat.supervise import ServiceDirectory, is_supervised

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runit_compat.sv import Found

_SERVICES = "/etc/service"  # where Debian's sv looks


def make_find(
    find_program: Callable[[str], Found], find_below: Callable[[str], Found], environ: Mapping[str, str], began: float
) -> Callable[[str], Found]:
    """Make what ``sv.main`` wants.

    ``find_program`` knows our services and programs by name, ``find_below`` those that a path inside our `services/`
    is of; ``began`` is when sv was started, in seconds since 1970.
    """

    def find(word: str) -> Found:
        is_path = word[:1] in {"/", ".", ""} or word.endswith("/")
        path = word if is_path else f"{environ.get('SVDIR', _SERVICES)}/{word}"
        if not is_path and "SVDIR" not in environ:
            return _label(word, find_program(word)) or [(word, ServiceDirectory(path, began))]
        if is_supervised(path):
            return [(word, ServiceDirectory(path, began))]
        ours = find_below(path) or find_program(_last(path))
        return _label(word, ours) or [(word, ServiceDirectory(path, began))]

    return find


def _last(path: str) -> str:
    """What a path calls its service: `nginx` or, of a logger, `nginx/log`."""
    parts = path.rstrip("/").split("/")
    return "/".join(parts[-2:]) if parts[-1] == "log" else parts[-1]


def _label(word: str, found: Found) -> Found:
    """One answers by the name that was typed, several by their own."""
    return [(word, found[0][1])] if len(found) == 1 else found
