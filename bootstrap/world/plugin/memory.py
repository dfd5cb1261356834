"""Whether the kernel has killed for want of memory."""

from __future__ import annotations

from bootstrap.world import cgroups


class Memory:
    """How often it has done so: in a program's group, or since the boot on the whole box.

    A group's count has all that concerns its program, so there the box's, which may have been another's, says nothing.
    """

    def __init__(self, group: str | None) -> None:
        self._group = group
        self._kills = self._read()

    def has_run_out(self, name: str) -> bool:
        """Whether it has done so since the last time somebody asked."""
        now = self._read()
        key = name if name in now else ""
        before, self._kills[key] = self._kills.get(key, 0), now[key]
        return now[key] > before

    def _read(self) -> dict[str, int]:
        return {"": self._read_box(), **(cgroups.read_oom_kills(self._group) if self._group else {})}

    def _read_box(self) -> int:
        """``oom_kill`` in /proc/vmstat, since Linux 4.13."""
        try:
            with open("/proc/vmstat", "rb") as file:
                return next((int(line.split()[1]) for line in file if line.startswith(b"oom_kill ")), 0)
        except OSError:
            return 0
