"""Boxes in network namespaces: each has 169.254.169.254 and AWS for itself, and one address that the outside reaches.

A namespace is made with ``ip netns`` and joined to this one by a pair of virtual interfaces. What a box asks of its
metadata and of AWS is taken by listeners that stand in its namespace and belong to this process.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import socket
import subprocess
import threading

from support.private_world import give_up

METADATA = ("169.254.169.254", 80)
AWS = ("127.0.0.1", 4566)
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A context manager; ``address`` is the box's, ``words`` puts a command into it."""

    def __init__(self, number: int) -> None:
        self.name = f"bootstrap-{os.getpid()}-{number}"
        self._inside, self._outside = f"bsi{os.getpid() % 100_000}{number}", f"bso{os.getpid() % 100_000}{number}"
        self._network = f"10.{64 + os.getpid() % 128}.{number}"
        self.address = f"{self._network}.2"
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self):
        if os.geteuid() != 0 or shutil.which("ip") is None:
            give_up("only root can make network namespaces, with iproute2")
        _ip("netns", "add", self.name)
        _ip("link", "add", self._outside, "type", "veth", "peer", "name", self._inside)
        _ip("link", "set", self._inside, "netns", self.name)
        _ip("addr", "add", f"{self._network}.1/24", "dev", self._outside)
        _ip("link", "set", self._outside, "up")
        for words in (
            ("addr", "add", f"{self.address}/24", "dev", self._inside),
            ("link", "set", self._inside, "up"),
            ("link", "set", "lo", "up"),
            ("addr", "add", f"{METADATA[0]}/32", "dev", "lo"),
        ):
            _ip("-n", self.name, *words)
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()
        _ip("link", "del", self._outside)
        _ip("netns", "del", self.name)

    def words(self, words):
        return ["ip", "netns", "exec", self.name, *words]

    def forward(self, inside, outside):
        """Whoever connects to one address in the namespace reaches another one out here."""
        listener = self._listen(inside)
        self._start(self._accept_on, listener, outside)

    def _listen(self, address):
        """Sockets belong to the namespace of the thread that makes them."""
        made = []

        def make():
            descriptor = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
            try:
                if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
                made.append(socket.create_server(address, backlog=128))
            finally:
                os.close(descriptor)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def _start(self, body, *arguments):
        thread = threading.Thread(target=body, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept_on(self, listener, outside):
        with listener:
            while not self._over.is_set():
                if select.select([listener], [], [], 0.1)[0]:
                    connection, _ = listener.accept()
                    threading.Thread(target=_carry, args=(connection, outside), daemon=True).start()


def _carry(inside, outside):
    with inside, socket.create_connection(outside) as other:
        ways = {inside: other, other: inside}
        while ways:
            for source in select.select(list(ways), [], [])[0]:
                try:
                    block = source.recv(65536)
                    ways[source].sendall(block)
                except OSError:
                    return
                if not block:
                    return


def _ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)
