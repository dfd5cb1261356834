"""Where everything of one box stands: its root (services/, config/) and its state."""

from __future__ import annotations

from bootstrap.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Two absolute paths, and the names of everything below them.

    ``run`` holds what dies with the boot (sockets, locks, the store with environment values; 0700, tmpfs on a real
    box); ``log``, ``data`` and ``generations`` survive it.
    """

    root: str
    state: str

    @property
    def services(self) -> str:
        return f"{self.root}/services"

    @property
    def config(self) -> str:
        return f"{self.root}/config"

    @property
    def run(self) -> str:
        return f"{self.state}/run"

    @property
    def store(self) -> str:
        """One directory a rendered program: ``<program>-<fingerprint>/``."""
        return f"{self.state}/run/store"

    @property
    def socket(self) -> str:
        """supervisord's unix socket."""
        return f"{self.state}/run/supervisord.sock"

    @property
    def lock(self) -> str:
        return f"{self.state}/run/lock"

    @property
    def log(self) -> str:
        return f"{self.state}/log"

    @property
    def generations(self) -> str:
        return f"{self.state}/generations"

    @property
    def current(self) -> str:
        """A link that names the generation in force."""
        return f"{self.state}/current"

    @property
    def code(self) -> str:
        """What was fetched from sources: ``<service>/<commit or version>/``; it survives reboots and ``down``."""
        return f"{self.state}/code"

    @property
    def traffic(self) -> str:
        """What sends requests to this box, or was about to; there is none where nothing does."""
        return f"{self.state}/run/traffic.json"

    @property
    def mirrors(self) -> str:
        """What is known of git repositories, and what is being unpacked."""
        return f"{self.state}/mirrors"

    def program_log(self, program: str) -> str:
        return f"{self.log}/{program}.log"

    def data(self, service: str) -> str:
        """Where a service may keep what must survive it; ``down`` leaves it alone."""
        return f"{self.state}/data/{service}"
