"""The supervisord process: ``python -I -m bootstrap.world.daemon``, working directory = the run directory.

It is started before it is known whether it will be wanted: the imports take 0.1 s, in which ``up`` reads and renders on
the other core. One line on standard input sets it going; end of file ends it, so it never outlives the ``up`` that
started it without having been told to.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import resource
import sys

CONFIG = "supervisord.conf"


def main() -> None:
    """Import, wait for the word, become supervisord."""
    gc.disable()  # what is imported stays: looking for garbage among it takes a twelfth of the time
    sys.modules["ssl"] = None  # type: ignore[assignment]  # nobody speaks TLS to it: a megabyte, and 5 ms
    from supervisor import rpcinterface, supervisord, xmlrpc  # noqa: F401, PLC0415 - loaded here so that the wait hides it

    from bootstrap import launcher  # noqa: PLC0415 - likewise
    from bootstrap.world import cgroups, plugin, processes  # noqa: F401, PLC0415 - likewise

    gc.enable()
    if sys.stdin.readline() != "go\n":
        return
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sys.stdout = sys.stderr = Unfailing()
    _raise_file_limit()
    if launcher.CGROUP in os.environ:
        cgroups.divide(os.environ[launcher.CGROUP])
    processes.adopt_orphans()
    supervisord.main(["-c", CONFIG])


class Unfailing(io.TextIOBase):
    """Standard error, which may stand on a disk that is full or has become read-only.

    supervisord tells there what its log can't take. An error of that would end it, and leave all programs alone.
    """

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            os.write(2, text.encode(errors="replace"))
        return len(text)


def _raise_file_limit() -> None:
    """Three descriptors a program: the usual soft limit of 1 024 ends at about 300. ``run`` sets each child's own."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
