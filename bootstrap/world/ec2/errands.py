"""Calls of AWS by a process that stays: they are made in short-lived children, which alone import boto3.

With boto3 the process that stays would be five times as large. Its import takes far longer than a call, so a child
that has run an errand waits a moment for another (see ``clerk.py`` and, inside the child, ``errand.py``). An error
comes back as the same type with the same text.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import field
from functools import cache
from typing import TYPE_CHECKING, Any

from bootstrap.errors import ApplyFailed, BootstrapError, DefinitionError, Refused, TagError, Unavailable
from bootstrap.frozen import dataclass
from bootstrap.spelling import quoted
from bootstrap.world.aws import DeniedError, UnconfiguredError
from bootstrap.world.ec2.clerk import Clerk, NoAnswerError, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# name → module and function, called with keyword arguments that are JSON, as its result is
ERRANDS = {
    "read-instance-tags": "bootstrap.world.aws:read_instance_tags",
    "read-group-name": "bootstrap.world.aws:read_group_name",
    "read-group-tags": "bootstrap.world.aws:read_group_tags",
    "describe-membership": "bootstrap.world.ec2.group:describe_membership",
    "heartbeat": "bootstrap.world.ec2.group:heartbeat",
    "complete": "bootstrap.world.ec2.group:complete",
    "set-unhealthy": "bootstrap.world.ec2.group:set_unhealthy",
    "suspend": "bootstrap.world.ec2.group:suspend",
    "terminate": "bootstrap.world.ec2.termination:terminate",
    "join": "bootstrap.world.ec2.joining:join",
    "leave": "bootstrap.world.ec2.joining:leave",
    "read-targets": "bootstrap.world.ec2.joining:read_targets",
    "read-health-checks": "bootstrap.world.ec2.joining:read_health_checks",
    "read-name": "bootstrap.world.ec2.joining:read_name",
    "tag": "bootstrap.world.ec2.status_tags:tag",
    "read-object": "bootstrap.world.ec2.bucket:read_object",
    "write-object": "bootstrap.world.ec2.bucket:write_object",
    "record-boot": "bootstrap.world.ec2.notes:record_boot",
    "note-failing": "bootstrap.world.ec2.notes:note_failing",
    "alert": "bootstrap.world.ec2.alerts:alert",
    "read-secrets": "bootstrap.world.secrets:read_secrets",
    "read-tarball-text": "bootstrap.world.code.tarballs:read_text",
    "download-tarball": "bootstrap.world.code.tarballs:download",
}
_ERRORS = (ApplyFailed, DefinitionError, DeniedError, TagError, Unavailable, UnconfiguredError)
ERRORS: Mapping[str, type[BootstrapError]] = {kind.__name__: kind for kind in _ERRORS}
TIMEOUT_S = 60.0
_AT_ONCE = 4
_stays = threading.Event()
IDLE_S = 5.0  # how long a child waits for another errand
_INHERITED = {"PATH", "HOME", "LANG", "TZ", "REQUESTS_CA_BUNDLE"}
_INHERITED_BEGINNINGS = ("AWS_", "LC_", "SSL_")


class Errands:
    """Runs errands side by side, a few at once, each by the first clerk that is free."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = {name: value for name, value in environ.items() if _is_inherited(name)}
        self._changed = threading.Condition()  # guards all that follows
        self._waiting: deque[_Errand] = deque()
        self._desks = 0  # threads, each with a clerk of its own
        self._free = 0  # of them, those that wait for an errand
        self._busy: dict[Future[Any], Clerk | None] = {}  # no clerk yet: one is being engaged
        self._abandoned: set[Future[Any]] = set()  # of those that are busy
        self._is_over = False

    def begin(self, name: str, *, timeout_s: float = TIMEOUT_S, **arguments: Any) -> Future[Any]:
        """Have the errand run; the future has its result, or raises the BootstrapError that it ended in."""
        if name not in ERRANDS:
            raise KeyError(name)
        request = json.dumps({"name": name, "timeout_s": timeout_s, "arguments": arguments})
        errand = _Errand(name=name, request=request, timeout_s=timeout_s)
        with self._changed:
            if self._is_over:
                errand.future.set_exception(_stopping(name))
                return errand.future
            self._waiting.append(errand)
            self._changed.notify()
            if len(self._waiting) > self._free and self._desks < _AT_ONCE:
                self._add_desk()
            if not self._desks:
                self._waiting.clear()
                errand.future.set_exception(_failed(name, "this machine has no room for another thread"))
        return errand.future

    def run(self, name: str, *, timeout_s: float = TIMEOUT_S, **arguments: Any) -> Any:
        """Run the errand and wait for its result, ``timeout_s`` at most once it has begun."""
        return self.begin(name, timeout_s=timeout_s, **arguments).result()

    def end(self) -> None:
        """Begin no more, and end what is under way."""
        with self._changed:
            self._is_over = True
            dropped = tuple(self._waiting)
            self._waiting.clear()
            for clerk in self._busy.values():
                if clerk is not None:
                    clerk.kill()
            self._changed.notify_all()
        for errand in dropped:
            errand.future.set_exception(_stopping(errand.name))

    def abandon(self, future: Future[Any]) -> None:
        """End the errand, if it is under way: nobody waits for it any more."""
        with self._changed:
            self._waiting = deque(errand for errand in self._waiting if errand.future is not future)
            if future in self._busy:
                self._abandoned.add(future)
                clerk = self._busy[future]
                if clerk is not None:
                    clerk.kill()

    def _add_desk(self) -> None:
        self._desks += 1
        try:
            threading.Thread(target=self._serve, name=f"errands-{self._desks}", daemon=True).start()
        except RuntimeError:
            self._desks -= 1  # as many processes and threads as there may be: others will do it, or nobody

    def _serve(self) -> None:
        clerk = None
        while (errand := self._next()) is not None:
            try:
                with self._forgotten_afterwards(errand):
                    if clerk is None or not clerk.is_there():
                        clerk = self._engage(errand.name, clerk)
                    self._hand_over(errand, clerk)
                    result = _parse_answer(errand.name, clerk.ask(errand.request, errand.timeout_s))
            except NoAnswerError as error:
                failure = _stopping(errand.name) if self._is_over else _failed(errand.name, str(error))
                errand.future.set_exception(failure)
            except Exception as error:  # noqa: BLE001 - a bug too is for whoever waits
                errand.future.set_exception(error)
            else:
                errand.future.set_result(result)
        if clerk is not None:
            clerk.dismiss()

    def _next(self) -> _Errand | None:
        """The next errand for this thread; ``None`` if it shall end."""
        with self._changed:
            self._free += 1
            self._changed.wait_for(lambda: self._waiting or self._is_over, IDLE_S)
            self._free -= 1
            if self._waiting:
                errand = self._waiting.popleft()
                self._busy[errand.future] = None
                return errand
            self._desks -= 1
            return None

    def _engage(self, name: str, predecessor: Clerk | None) -> Clerk:
        if predecessor is not None:
            predecessor.dismiss()
        try:
            return Clerk(self._environ)
        except OSError as error:
            raise _failed(name, f"it can't be started: {error.strerror}") from error

    def _hand_over(self, errand: _Errand, clerk: Clerk) -> None:
        """To a clerk that whoever ends or abandons it from now on can see."""
        with self._changed:
            if self._is_over or errand.future in self._abandoned:
                raise NoAnswerError("nobody waits for it any more")
            self._busy[errand.future] = clerk

    @contextmanager
    def _forgotten_afterwards(self, errand: _Errand) -> Iterator[None]:
        try:
            yield
        finally:
            with self._changed:
                del self._busy[errand.future]
                self._abandoned.discard(errand.future)


def run(name: str, *, timeout_s: float = TIMEOUT_S, **arguments: Any) -> Any:
    """Run the errand where that is best: here, or in a child if this is the process that stays."""
    if _stays.is_set():
        return errands().run(name, timeout_s=timeout_s, **arguments)
    return function_of(name)(**arguments)


def stay() -> None:
    """This process stays: from now on it calls AWS through children only."""
    _stays.set()


def function_of(name: str) -> Callable[..., Any]:
    """What an errand calls."""
    module, _, function = ERRANDS[name].partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


@cache
def errands() -> Errands:
    """Those of this process, which end with it: what has been imported for one call serves the next."""
    made = Errands(os.environ)
    atexit.register(made.end)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class _Errand:
    name: str
    request: str
    timeout_s: float
    future: Future[Any] = field(default_factory=Future)


def _is_inherited(name: str) -> bool:
    """What says how AWS is reached and by whom; nothing else of ours is a child's business."""
    return name in _INHERITED or name.startswith(_INHERITED_BEGINNINGS) or name.lower().endswith("_proxy")


def _parse_answer(name: str, text: str) -> Any:
    try:
        answer = json.loads(text)
        if "result" in answer:
            return answer["result"]
        kind, message, problems = (answer["error"][key] for key in ("type", "message", "problems"))
        error = ERRORS[kind]
    except (ValueError, KeyError, TypeError):
        raise _failed(name, f"its answer makes no sense{quote(text)}") from None
    raise error(*problems) if issubclass(error, Refused) else error(message)


def _failed(name: str, cause: str) -> Unavailable:
    return Unavailable(
        f"cannot run errand {quoted(name)}: {cause}\n  way out: see that this machine reaches AWS, and try again"
    )


def _stopping(name: str) -> Unavailable:
    return Unavailable(f"cannot run errand {quoted(name)}: bootstrap is stopping\n  way out: start it again")
