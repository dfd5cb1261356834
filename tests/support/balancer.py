"""A load balancer that does what a target group says: haproxy, told over its socket; and someone who asks it much."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections import Counter

from support.ports import free_port
from support.private_world import give_up
from support.sandbox import wait_until

_REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
_STATES = {"healthy": "ready", "draining": "drain"}  # whatever else a target is, it gets nothing


class Balancer:
    """A context manager; ``targets`` answers with (id, port) → state whenever it is asked, ``addresses`` knows the ids."""

    def __init__(self, directory, addresses, targets, port) -> None:
        self._directory, self._addresses, self._targets = directory, addresses, targets
        self._target_port = port
        self._socket = str(directory / "haproxy.sock")
        self._over = threading.Event()
        self.port = free_port()

    def __enter__(self):
        haproxy = shutil.which("haproxy")
        if haproxy is None:
            give_up("haproxy is not installed")
        servers = "".join(
            f"  server {name} {address}:{self._target_port} disabled\n" for name, address in self._addresses.items()
        )
        file = self._directory / "haproxy.cfg"
        file.write_text(
            f"global\n  stats socket {self._socket} mode 600 level admin\n  log stdout format raw daemon emerg\n"
            "defaults\n  mode http\n  timeout connect 2s\n  timeout client 10s\n  timeout server 10s\n  retries 0\n"
            f"frontend f\n  bind 127.0.0.1:{self.port}\n  default_backend b\n"
            f"backend b\n  balance roundrobin\n{servers}"
        )
        self._process = subprocess.Popen([haproxy, "-f", str(file), "-db"], stdout=subprocess.DEVNULL)
        wait_until(lambda: self._tell("show info"), "haproxy to answer")
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self._process.terminate()
        self._process.wait()

    def _follow(self):
        told = {}
        while not self._over.wait(0.005):
            states = {name: state for (name, _), state in self._targets().items()}
            for name in self._addresses:
                wanted = _STATES.get(states.get(name), "maint")
                if told.get(name) != wanted:
                    self._tell(f"set server b/{name} state {wanted}")
                    told[name] = wanted

    def _tell(self, command):
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(self._socket)
                connection.sendall(f"{command}\n".encode())
                return connection.recv(65536) or b"\n"
        except OSError:
            return b""


class Load:
    """Asks so many times a second, each on a connection of its own, until it is told to stop."""

    def __init__(self, port, per_s, threads=20) -> None:
        self._port, self._pause_s, self._threads = port, threads / per_s, threads
        self._over = threading.Event()
        self.answers: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __enter__(self):
        self._running = [threading.Thread(target=self._ask_on, args=(number,)) for number in range(self._threads)]
        for thread in self._running:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._running:
            thread.join()

    @property
    def failed(self):
        return {answer: count for answer, count in self.answers.items() if answer != "200"}

    def _ask_on(self, number):
        due = time.monotonic() + self._pause_s * number / self._threads
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due += self._pause_s
            answer = self._ask()
            with self._lock:
                self.answers[answer] += 1

    def _ask(self):
        """The status of a whole answer, or what came instead."""
        answer = b""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=10) as connection:
                connection.sendall(_REQUEST)
                while block := connection.recv(65536):
                    answer += block
        except OSError as error:
            return type(error).__name__
        head, _, body = answer.partition(b"\r\n\r\n")
        status = head.split(b" ")[1].decode() if head.startswith(b"HTTP/") else "nothing"
        return status if status != "200" or body == b"ok\n" else "half an answer"
