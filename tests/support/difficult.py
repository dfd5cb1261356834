"""Programs that are hard to keep: each proves by a lock of its own that there is only one of it.

Every process of a program inherits descriptor 9, an exclusively locked file: so it is known which program a process
belongs to whatever it has done to its environment, session and parents, and whoever starts while anything of an earlier
copy lives can't get the lock and says so.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

EVIDENCE = 9  # the descriptor
_PROLOGUE = """\
exec 9>>"$EVIDENCE/$BOOTSTRAP_PROGRAM"
flock -n 9 || echo "$$ started beside another" >>"$EVIDENCE/double-$BOOTSTRAP_PROGRAM"
"""
_IS_HERE = 'echo "$$ $SHADE" >&9\n'
_TITLE = f"""\
exec {sys.executable} -I -S -c '
import ctypes, time
stack = next(line for line in open("/proc/self/maps") if "[stack]" in line)
fields = open("/proc/self/stat").read().rpartition(") ")[2].split()
start, end = int(fields[47]), int(fields[48])
ctypes.memset(start, 0x20, end - start)
time.sleep(1000)
'
"""
# Every other start of it fails. That it is going to is known before it says that it is here: else it could be taken for
# one that stays.
_DECIDE = 'if [ -e "$EVIDENCE/.{name}" ]; then rm "$EVIDENCE/.{name}"; else >"$EVIDENCE/.{name}"; stumbles=yes; fi\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A way of being difficult: a script of sh, and how many processes there are once it runs."""

    script: str
    first: str = ""  # before it says that it is here
    processes: int = 1
    ready: str = "{alive: 0s}"


KINDS = {
    "ordinary": Kind(script="exec sleep 1000"),
    "ignores": Kind(script="trap '' TERM HUP INT; exec sleep 1000"),
    "daemonizes": Kind(script="(sleep 1000 &) & wait; exec sleep 1000", processes=2),
    "leaves": Kind(script="setsid sleep 1000 & exec sleep 1000", processes=2),
    "flees": Kind(script="(setsid sh -c 'sleep 1000 & exec sleep 1000' &) & wait; exec sleep 1000", processes=3),
    "forks": Kind(script="trap 'setsid sleep 1000 & exit 0' TERM; sleep 1000 & wait", processes=2),
    "closes": Kind(script="exec 0<&- 1>&- 2>&-; exec sleep 1000"),
    "holds": Kind(script="trap 'exit 0' TERM; setsid sh -c 'trap \"\" TERM; exec sleep 1000' & wait", processes=2),
    "titled": Kind(script=_TITLE),
    "stumbles": Kind(
        first=_DECIDE.format(name="stumbles"),
        script='[ -z "$stumbles" ] || { sleep 0.01; exit 1; }\nexec sleep 1000',
    ),
    "falls": Kind(
        first=_DECIDE.format(name="falls"),
        script='echo is up\n[ -z "$stumbles" ] || exit 1\nexec sleep 1000',
        ready="{log: is up}",
    ),
}


def define(sandbox, kinds):
    """Make a service of each kind, by name; the answer is the directory where they leave their evidence."""
    evidence = sandbox.root.parent / "evidence"
    evidence.mkdir(exist_ok=True)
    sandbox.config("common/EVIDENCE", str(evidence))
    for name, kind in kinds.items():
        folder = sandbox.service(
            name,
            f"processes:\n  main:\n    command: exec /bin/sh child.sh\n    ready: {kind.ready}\n"
            "    stop: {grace: 200ms}\n    restart: {window: 1s, starts: 20}\n",
        )
        (folder / "child.sh").write_text(_PROLOGUE + kind.first + _IS_HERE + kind.script + "\n")
        sandbox.config(f"services/{name}/common/SHADE", "first")
    return evidence


def read_census(evidence):
    """Living processes by the service that they belong to, as /proc has them."""
    prefix = f"{evidence}/"
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            target = os.readlink(f"/proc/{name}/fd/{EVIDENCE}")
        except OSError:
            continue  # gone, a zombie, or no such descriptor
        if target.startswith(prefix):
            found.setdefault(target.removeprefix(prefix).removesuffix("-main"), set()).add(int(name))
    return found
