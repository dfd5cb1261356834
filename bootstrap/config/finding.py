"""What ``config lint`` says: one finding a mistake, with the rule that it breaks, its place and a way out.

No finding holds a value: it may be a secret, and the output stands in the logs of CI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RULES = {
    "unplannable": "definitions that no box can run in some mode",
    "unreadable": "a name, file or link that cannot be a variable, or a line of a .env that cannot be read",
    "unread-layer": "a directory that no service reads in any mode",
    "misplaced": "a variable in no layer, a misspelt name of settings, a Procfile beside a service.yaml",
    "unread-key": "a key set only where no service reads it",
    "repeated": "a key with the very value that it already has below",
    "case-twin": "two keys that differ only in case",
    "stray": "a carriage return, quotes, blanks or lines that were copied in with the value",
    "clear-text": "probably a secret in clear text",
    "guard": "a mode that reaches what layers.yaml guards it against",
    "required": "a required key that a configured mode lacks",
    "schema": "a value, or a rule, that does not fit config/schema.yaml",
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """One mistake; ``line`` is 0 where the whole file is meant."""

    file: str
    line: int
    rule: str  # of RULES
    severity: Literal["error", "warning"]
    text: str
    way_out: str
    key: str | None = None
