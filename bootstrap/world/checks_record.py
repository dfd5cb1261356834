"""Which programs fail their checks, as the watch saw it last: written there, read by ``status``."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from bootstrap.errors import Unavailable
from bootstrap.world import disk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.box import Box


def write_failing(box: Box, failing: Mapping[str, str]) -> None:
    """Program → why its check fails; where the disk refuses, ``status`` shows what was known before."""
    with contextlib.suppress(Unavailable):
        disk.write_for_this_boot(_path(box), json.dumps(dict(failing)).encode())


def read_failing(box: Box) -> dict[str, str]:
    """The same, read."""
    return {name: str(why) for name, why in disk.read_mapping(_path(box)).items()}


def _path(box: Box) -> str:
    return f"{box.run}/checks.json"
