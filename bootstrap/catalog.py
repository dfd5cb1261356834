"""Files of ``services/`` → definitions.

YAML is read strictly: unknown, duplicate or wrongly typed keys, aliases and cycles are errors with file, path and the
nearest valid spelling; all of them are reported at once. Scalars are read by the type that their key expects, never by
YAML's own guesses (``no`` is text where text is expected, ``0123`` is no number).
"""

from __future__ import annotations
