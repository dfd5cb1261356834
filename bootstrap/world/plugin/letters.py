"""What ``sv`` asks of programs, letter by letter, as runsv heeds them; inside supervisord, which never waits.

The letters, what each does in which state, and the scripts of ``control/`` that stand for signals are those of
runsv(8). A stop is our own ladder (``shutdown.Wave``): runsv would wait for ever where that ends with KILL. While a
script of ``control/`` runs, the letters behind it wait, as they do with runsv.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from supervisor.states import ProcessStates, SupervisorStates

from bootstrap.world.ladder import read_ladders
from bootstrap.world.plugin.shutdown import LOOK_AGAIN_S, Wave, spawn_script

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.box import Box

_SIGNALS = {
    "a": signal.SIGALRM,
    "c": signal.SIGCONT,
    "h": signal.SIGHUP,
    "i": signal.SIGINT,
    "k": signal.SIGKILL,
    "p": signal.SIGSTOP,
    "q": signal.SIGQUIT,
    "1": signal.SIGUSR1,
    "2": signal.SIGUSR2,
}
LETTERS = frozenset({*_SIGNALS, "d", "o", "t", "u", "x"})
_RUN = frozenset({ProcessStates.STARTING, ProcessStates.RUNNING, ProcessStates.STOPPING})
_LONGEST_SCRIPT_S = 60.0
_GRACES_S = 0.1  # how late a grace may be found over


@dataclass(slots=True)
class _Asked:
    """What one program was asked for."""

    want: str | None = None  # "u" or "d"; None where nobody has asked
    is_paused: bool = False
    queue: deque[str] = field(default_factory=deque)
    wave: Wave | None = None  # a stop that goes on
    is_to_start: bool = False  # as soon as its `finish` has ended
    script: int = 0  # pid of the one that may stand for a signal
    stands_for: str = ""  # which letter
    since: float = 0.0  # monotonic

    @property
    def is_busy(self) -> bool:
        return bool(self.queue or self.wave or self.script or self.is_to_start)


class Letters:
    """All programs of one supervisord."""

    def __init__(
        self,
        supervisord: Any,
        box: Box,
        take_status: Callable[[int], int | None],
        is_finishing: Callable[[str], bool],
        forgive: Callable[[str], None],
    ) -> None:
        """``take_status`` and ``is_finishing`` as for a ``Wave``; ``forgive`` forgets how often one was started."""
        self._supervisord = supervisord
        self._box = box
        self._take_status = take_status
        self._is_finishing = is_finishing
        self._forgive = forgive
        self._asked: dict[str, _Asked] = {}

    def send(self, name: str, letters: str) -> None:
        """Heed these letters, in turn."""
        self._of(name).queue.extend(letters)
        self.step()

    def step(self) -> float | None:
        """Do whatever can be done now; after how many seconds it wants another look, ``None`` when nothing goes on.

        The end of a process or a script wakes supervisord by itself; graces do not, nor does the end of what is no
        child of ours.
        """
        for name, asked in list(self._asked.items()):
            if asked.is_busy:
                self._advance(name, asked)
        if not self.is_busy:
            return None
        is_clearing = any(asked.wave is not None and asked.wave.is_clearing for asked in self._asked.values())
        return LOOK_AGAIN_S if is_clearing else _GRACES_S

    @property
    def is_busy(self) -> bool:
        return any(asked.is_busy for asked in self._asked.values())

    def want(self, name: str) -> str | None:
        return self._asked[name].want if name in self._asked else None

    def set_want(self, name: str, want: str | None) -> None:
        if want is not None or name in self._asked:
            self._of(name).want = want

    def is_paused(self, name: str) -> bool:
        return name in self._asked and self._asked[name].is_paused

    def is_stopping(self, name: str) -> bool:
        """Whether a stop goes on that supervisord alone would not know of any more, or not yet."""
        return name in self._asked and self._asked[name].wave is not None

    def got_term(self, name: str) -> bool | None:
        """Whether the stop that goes on has sent its signal; ``None`` where the stop is not one of ours."""
        wave = self._asked[name].wave if name in self._asked else None
        return None if wave is None else wave.has_signalled(name)

    def note_start(self, name: str) -> None:
        """A program, or its `finish`, has been started."""
        if name in self._asked:
            self._asked[name].is_paused = False

    def forget(self, name: str) -> None:
        self._asked.pop(name, None)

    def _of(self, name: str) -> _Asked:
        return self._asked.setdefault(name, _Asked())

    def _advance(self, name: str, asked: _Asked) -> None:
        group = self._supervisord.process_groups.get(name)
        if group is None or self._supervisord.options.mood < SupervisorStates.RUNNING:
            asked.queue.clear()
            asked.wave, asked.script, asked.is_to_start = None, 0, False
            return
        (process,) = group.processes.values()
        self._end_script(name, asked, process)
        while True:
            if asked.wave is not None and asked.wave.step():
                asked.wave = None
                asked.is_to_start = asked.want != "d"
            if not asked.queue or asked.script or (asked.wave and asked.wave.runs_scripts):
                break
            self._heed(name, asked, group, process, asked.queue.popleft())
        if asked.is_to_start and asked.wave is None and not self._is_finishing(name):
            asked.is_to_start = False
            self._start(name, process)

    def _heed(self, name: str, asked: _Asked, group: Any, process: Any, letter: str) -> None:
        is_run = process.state in _RUN and bool(process.pid)
        match letter:
            case "u" | "o":
                asked.want = "u" if letter == "u" else "d"
                asked.is_to_start = not is_run and asked.wave is None
            case "d" | "x":
                asked.want = "d"
                asked.is_to_start = False
                if process.state == ProcessStates.BACKOFF:
                    process.stop()
                self._stop(asked, group, is_run=is_run, then=letter)
            case "t":
                self._stop(asked, group, is_run=is_run, then="")
            case _:
                self._stand_or_signal(name, asked, process, letter, is_run=is_run)
                asked.is_paused = letter == "p" or (asked.is_paused and letter != "c")

    def _start(self, name: str, process: Any) -> None:
        if process.state == ProcessStates.BACKOFF:
            process.stop()
        if process.state in {ProcessStates.STOPPED, ProcessStates.EXITED, ProcessStates.FATAL}:
            self._forgive(name)
            process.spawn()

    def _stop(self, asked: _Asked, group: Any, *, is_run: bool, then: str) -> None:
        if asked.wave is not None:
            asked.wave.ask_again(then)
        elif is_run:
            asked.wave = Wave([group], self._box, self._take_status, self._is_finishing, then=then)

    def _stand_or_signal(self, name: str, asked: _Asked, process: Any, letter: str, *, is_run: bool) -> None:
        if not is_run:
            return
        ladder = read_ladders(self._box, {name: f"{name}-{process.config.name}"})[name]
        script = ladder.control(letter)
        if script is not None:
            with contextlib.suppress(OSError):
                asked.script = spawn_script(["/bin/sh", script], self._box.program_log(name))
                asked.stands_for, asked.since = letter, time.monotonic()
                return
        _signal(process, letter)

    def _end_script(self, name: str, asked: _Asked, process: Any) -> None:
        if not asked.script:
            return
        status = self._take_status(asked.script)
        if status is None and time.monotonic() - asked.since < _LONGEST_SCRIPT_S:
            return
        if status is None:
            with contextlib.suppress(OSError):
                os.killpg(asked.script, signal.SIGKILL)
            said = f"control/{asked.stands_for} of {name} did not end and was killed"
            self._supervisord.options.logger.info(said)
        asked.script = 0
        if status != 0 and process.pid:
            _signal(process, asked.stands_for)


def _signal(process: Any, letter: str) -> None:
    with contextlib.suppress(OSError):
        os.kill(process.pid, _SIGNALS[letter])
