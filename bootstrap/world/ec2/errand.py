"""The child that runs errands: ``python -I -m bootstrap.world.ec2.errand`` (see ``clerk.py``).

Each line of its standard input is ``{"name", "timeout_s", "arguments"}``; it answers each with a line of MARK and
``{"result": …}`` or ``{"error": {"type", "message", "problems"}}``. Should whoever started it be gone, its input ends,
and so does it; an errand that is under way then ends when its time is over.
"""

from __future__ import annotations

import gc
import json
import math
import signal
import sys
from typing import Any

from bootstrap.errors import BootstrapError, Refused
from bootstrap.world.ec2.clerk import MARK
from bootstrap.world.ec2.errands import ERRORS, function_of


def main() -> None:
    """Run one errand after another; what nobody expected ends in a traceback and a code."""
    gc.set_threshold(100_000)  # importing boto3 and reading its descriptions makes values, hardly any cycles
    for line in sys.stdin.buffer:
        request = json.loads(line)
        signal.alarm(math.ceil(request["timeout_s"]) + 1)
        answer = json.dumps(_answer(request["name"], request["arguments"]))
        sys.stdout.write(f"\n{MARK}{answer}\n")
        sys.stdout.flush()
        signal.alarm(0)


def _answer(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"result": function_of(name)(**arguments)}
    except BootstrapError as error:
        kind = next(base.__name__ for base in type(error).__mro__ if base.__name__ in ERRORS)
        problems = list(error.problems) if isinstance(error, Refused) else []
        return {"error": {"type": kind, "message": str(error), "problems": problems}}


if __name__ == "__main__":
    main()
