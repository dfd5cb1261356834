"""What stands before the verb: where the box is, which tags were typed, how much to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from bootstrap.box import Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options that every verb shares; click hands it to each as its object."""

    box: Box
    tags: tuple[str, ...] = ()  # --tag KEY=VALUE, as typed
    tags_file: str | None = None
    verbosity: int = 0  # -v is 1, -q is -1
    last_identity: bool = False
