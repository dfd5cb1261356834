"""Run a script in a network namespace of its own, where every port is free and nobody else listens.

``python private_network.py SCRIPT``, started under ``unshare --net``: brings the loopback interface up, then becomes
the script.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def words(script):
    """The command that runs a script in a namespace, or ``None`` where that is not allowed."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return None
    options = ["--net"] if os.geteuid() == 0 else ["--net", "--user", "--map-root-user"]
    if subprocess.run([unshare, *options, "true"], capture_output=True, check=False).returncode != 0:
        return None
    return [unshare, *options, sys.executable, __file__, str(script)]


def bring_loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        _, flags, _ = struct.unpack("16sH14s", fcntl.ioctl(control, SIOCGIFFLAGS, request))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | IFF_UP, b""))


if __name__ == "__main__":
    bring_loopback_up()
    os.execv("/bin/sh", ["/bin/sh", sys.argv[1]])
