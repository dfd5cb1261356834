"""The child that runs one errand: ``python -I -m bootstrap.world.errand`` (see ``errands.py``).

It reads ``{"name", "timeout_s", "arguments"}`` from its standard input and ends with one line: ``{"result": …}`` or
``{"error": {"type", "message", "problems"}}``. Anything else in its output is noise. Should whoever started it be gone,
it ends by itself when its time is over.
"""

from __future__ import annotations

import gc
import importlib
import json
import math
import signal
import sys
from typing import Any

from bootstrap.errors import BootstrapError, Refused
from bootstrap.world.errands import ERRANDS, ERRORS


def main() -> None:
    """Read the request, run it, write the answer; what nobody expected ends in a traceback and a code."""
    gc.set_threshold(100_000)  # importing boto3 and reading its descriptions makes values, hardly any cycles
    request = json.load(sys.stdin.buffer)
    signal.alarm(math.ceil(request["timeout_s"]) + 1)
    answer = json.dumps(_answer(request["name"], request["arguments"]))
    sys.stdout.write(f"\n{answer}\n")


def _answer(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    module, _, function = ERRANDS[name].partition(":")
    try:
        return {"result": getattr(importlib.import_module(module), function)(**arguments)}
    except BootstrapError as error:
        kind = next(base.__name__ for base in type(error).__mro__ if base.__name__ in ERRORS)
        problems = list(error.problems) if isinstance(error, Refused) else []
        return {"error": {"type": kind, "message": str(error), "problems": problems}}


if __name__ == "__main__":
    main()
