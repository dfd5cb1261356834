"""Reading logs that grow, rotate, vanish and hold anything."""

from __future__ import annotations

import itertools
import logging.handlers
import os
import random
import tracemalloc
from pathlib import Path

import pytest

from bootstrap.errors import Unavailable
from bootstrap.world import logs
from bootstrap.world.logs import LONGEST_LINE, Position, Splitter, follow, read_end, read_more, tail, visible


@pytest.fixture
def log(tmp_path):
    return tmp_path / "api-web.log"


def append(path, content):
    with path.open("ab") as file:
        file.write(content)


def rotate(path, kept=3):
    """As supervisord does it: oldest first, then a new file."""
    for number in range(kept - 1, 0, -1):
        older = Path(f"{path}.{number}")
        if older.exists():
            older.rename(f"{path}.{number + 1}")
    path.rename(f"{path}.1")
    path.touch()


def read_on(path, position):
    """All that can be read after a position."""
    read = b""
    while True:
        block, position = read_more(str(path), position)
        read += block
        if not block:
            return read


def rotate_at_look(monkeypatch, log, moment, then=b""):
    """Rotate just before the log is opened for the n-th time from now on."""
    opened = logs._opened
    looks = []

    def rotating(path):
        looks.append(path)
        if len(looks) == moment:
            rotate(log)
            append(log, then)
        return opened(path)

    monkeypatch.setattr(logs, "_opened", rotating)


# tail


def test_the_last_lines_come_oldest_first(log):
    log.write_bytes(b"one\ntwo\nthree\n")
    assert tail(str(log), 2) == ["two", "three"]


def test_lines_of_before_a_place_can_be_left_out(log):
    log.write_bytes(b"one\ntwo\n")
    place = read_end(str(log))
    assert tail(str(log), 5, place) == []
    append(log, b"three\nfour\n")
    assert tail(str(log), 5, place) == ["three", "four"]
    assert tail(str(log), 1, place) == ["four"]
    assert tail(str(log), 5, Position()) == ["one", "two", "three", "four"]


def test_fewer_lines_than_asked_for_are_all_lines(log):
    log.write_bytes(b"one\ntwo\n")
    assert tail(str(log), 100) == ["one", "two"]


def test_a_last_line_without_its_end_is_a_line(log):
    log.write_bytes(b"one\ntwo\nthr")
    assert tail(str(log), 2) == ["two", "thr"]


def test_empty_lines_are_lines(log):
    log.write_bytes(b"one\n\n\n")
    assert tail(str(log), 2) == ["", ""]
    assert tail(str(log), 3) == ["one", "", ""]


@pytest.mark.parametrize("lines", [0, 1, 5])
def test_a_log_that_is_not_there_has_no_lines(log, lines):
    assert tail(str(log), lines) == []


def test_a_log_in_a_directory_that_is_not_there_has_no_lines(log):
    assert tail(f"{log}/x.log", 5) == []


def test_an_empty_log_has_no_lines(log):
    log.touch()
    assert tail(str(log), 5) == []


def test_no_lines_can_be_asked_for(log):
    log.write_bytes(b"one\ntwo")
    assert tail(str(log), 0) == []


def test_bytes_that_are_not_utf_8_come_out_as_escapes(log):
    log.write_bytes("über ".encode() + b"\xff\xc3\x28\x00\n")
    assert tail(str(log), 1) == ["über \\xff\\xc3(\x00"]


def test_the_carriage_return_of_a_line_end_is_no_text(log):
    log.write_bytes(b"one\r\ntwo\rtwo\r\n")
    assert tail(str(log), 2) == ["one", "two\rtwo"]


def test_a_very_long_line_is_cut_with_a_mark(log):
    log.write_bytes(b"a" * 100_000 + b"\nshort\n")
    assert tail(str(log), 2) == [f"{'a' * LONGEST_LINE}… (83616 bytes more)", "short"]


def test_a_line_of_just_the_longest_length_is_whole(log):
    log.write_bytes(b"a" * LONGEST_LINE + b"\n")
    assert tail(str(log), 1) == ["a" * LONGEST_LINE]


def test_a_line_that_does_not_end_within_reach_is_shown_from_its_middle(log):
    log.write_bytes(b"a" * 5_000_000)
    assert tail(str(log), 1) == [f"… {'a' * LONGEST_LINE}… (1032192 bytes more)"]


def test_a_tail_is_what_splitting_the_whole_file_gives(log):
    rng = random.Random(4711)  # the same files each time
    for _ in range(60):
        sizes = [rng.choice([0, 1, 3, 70, 4000, 65_535, 65_536]) for _ in range(rng.randint(0, 30))]
        content = b"\n".join(bytes(rng.choices(b"ab \t", k=size)) for size in sizes)
        log.write_bytes(content + rng.choice([b"", b"\n"]))
        splitter = Splitter()
        expected = [*splitter.feed(log.read_bytes()), *splitter.flush()]
        for lines in (1, 2, 7, 31):
            assert tail(str(log), lines) == expected[-lines:]


def test_a_huge_log_is_not_read_whole(log, monkeypatch):
    with log.open("wb") as file:
        file.truncate(2 * 1024**3)  # a hole
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + b"x" * 99 + b"\n" + b"the end\n")
    read = []
    pread = os.pread

    def counting(*arguments):
        block = pread(*arguments)
        read.append(len(block))
        return block

    monkeypatch.setattr(logs.os, "pread", counting)
    assert tail(str(log), 2) == ["x" * 99, "the end"]
    assert sum(read) < 200_000


def test_a_huge_log_without_lines_is_bounded_in_reading_and_memory(log):
    with log.open("wb") as file:
        file.truncate(2 * 1024**3)
    tracemalloc.start()
    try:
        (line,) = tail(str(log), 1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert line == "… " + "\0" * LONGEST_LINE + "… (1032192 bytes more)"
    assert peak < 1_000_000


def test_lines_are_taken_from_rotated_files_too(log):
    log.write_bytes(b"one\ntwo\n")
    rotate(log)
    append(log, b"three\n")
    rotate(log)
    append(log, b"four\nfive\n")
    assert tail(str(log), 2) == ["four", "five"]
    assert tail(str(log), 3) == ["three", "four", "five"]
    assert tail(str(log), 4) == ["two", "three", "four", "five"]
    assert tail(str(log), 9) == ["one", "two", "three", "four", "five"]


def test_a_line_that_a_rotation_tore_is_one_line_again(log):
    log.write_bytes(b"one\ntw")
    rotate(log)
    append(log, b"o\nthree\n")
    assert tail(str(log), 2) == ["two", "three"]
    assert tail(str(log), 3) == ["one", "two", "three"]


def test_just_after_a_rotation_the_old_lines_are_the_last_lines(log):
    log.write_bytes(b"one\ntwo\n")
    rotate(log)
    assert tail(str(log), 1) == ["two"]


def test_between_the_renaming_and_the_new_file_the_old_lines_are_the_last_lines(log):
    log.write_bytes(b"one\ntwo\n")
    log.rename(f"{log}.1")
    assert tail(str(log), 1) == ["two"]


def test_a_pipe_in_place_of_a_log_is_no_log(log):
    os.mkfifo(log)
    assert tail(str(log), 5) == []


def test_a_link_in_place_of_a_log_is_refused(log, tmp_path):
    (tmp_path / "shadow").write_text("root:secret\n")
    log.symlink_to(tmp_path / "shadow")
    with pytest.raises(Unavailable) as refusal:
        tail(str(log), 5)
    assert str(refusal.value) == (
        f'cannot read "{log}": Too many levels of symbolic links\n'
        "  what runs goes on; way out: mend the disk or its permissions and run the command again"
    )


# positions


def test_what_is_written_after_the_end_is_more(log):
    append(log, b"before\n")
    end = read_end(str(log))
    assert read_more(str(log), end) == (b"", end)
    append(log, b"after\n")
    block, end = read_more(str(log), end)
    assert block == b"after\n"
    assert read_more(str(log), end) == (b"", end)


def test_a_log_that_comes_later_is_read_from_its_beginning(log):
    end = read_end(str(log))
    assert end == Position(inode=None, offset=0)
    assert read_more(str(log), end) == (b"", end)
    append(log, b"first\n")
    assert read_more(str(log), end)[0] == b"first\n"


def test_a_log_that_was_emptied_is_read_from_its_beginning(log):
    append(log, b"a long line\n")
    end = read_end(str(log))
    os.truncate(log, 0)
    append(log, b"short\n")
    assert read_more(str(log), end)[0] == b"short\n"


def test_a_log_whose_old_file_is_gone_is_read_from_its_beginning(log):
    append(log, b"old\n")
    end = read_end(str(log))
    log.rename(f"{log}-2024-01-01")  # somebody else's rotation
    log.write_bytes(b"a much longer new file\n")
    assert read_more(str(log), end)[0] == b"a much longer new file\n"


def test_several_rotations_between_two_looks_lose_nothing(log):
    append(log, b"seen\n")
    end = read_end(str(log))
    append(log, b"1")
    rotate(log)
    append(log, b"2")
    rotate(log)
    append(log, b"3")
    assert read_on(log, end) == b"123"


@pytest.mark.parametrize("moment", range(1, 8))
def test_a_rotation_while_we_look_loses_nothing(log, monkeypatch, moment):
    append(log, b"one\n")
    end = read_end(str(log))
    append(log, b"two\n")
    rotate(log)
    append(log, b"three\n")
    rotate_at_look(monkeypatch, log, moment, then=b"four\n")
    assert read_on(log, end) == b"two\nthree\nfour\n"


@pytest.mark.parametrize("moment", range(1, 8))
def test_a_rotation_while_we_look_for_the_last_lines_repeats_nothing(log, monkeypatch, moment):
    append(log, b"one\n")
    rotate(log)
    append(log, b"two\n")
    rotate_at_look(monkeypatch, log, moment)
    assert tail(str(log), 2) == ["one", "two"]


def test_the_standard_rotation_of_a_busy_log_loses_nothing(log):
    """supervisord's handler rotates in the same order as the standard library's."""
    handler = logging.handlers.RotatingFileHandler(log, maxBytes=2000, backupCount=3)
    end = Position()
    read = b""
    for number in range(3000):
        handler.emit(logging.makeLogRecord({"msg": f"line {number}"}))
        if number % 200 == 0:
            block, end = read_more(str(log), end)
            while block:
                read += block
                block, end = read_more(str(log), end)
    handler.close()
    read += read_on(log, end)
    assert read.decode().splitlines() == [f"line {number}" for number in range(3000)]


# follow


class EndedError(Exception):
    pass


class ScriptedClock:
    """Each wait carries out the next step of a script; the last one ends the test."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.time = 1000.0

    def now(self):
        return self.time

    def sleep(self, seconds, /):
        if not self.steps:
            raise EndedError
        self.time += seconds
        step = self.steps.pop(0)
        if callable(step):
            step()
        else:
            self.time += step


def followed(find, *steps, lines=10):
    seen = []
    with pytest.raises(EndedError):
        seen.extend(follow(find, lines=lines, clock=ScriptedClock(*steps)))
    return seen


def test_following_begins_with_the_last_lines(log):
    append(log, b"one\ntwo\nthree\n")
    assert followed(lambda: {"api-web": str(log)}, lambda: append(log, b"four\n"), lines=2) == [
        ("api-web", "two"),
        ("api-web", "three"),
        ("api-web", "four"),
    ]


def test_following_can_begin_with_nothing(log):
    append(log, b"one\n")
    assert followed(lambda: {"api-web": str(log)}, lambda: append(log, b"two\n"), lines=0) == [("api-web", "two")]


def test_a_line_is_given_when_it_has_ended(log):
    assert followed(
        lambda: {"api-web": str(log)},
        lambda: append(log, b"on"),
        lambda: append(log, b"e\ntw"),
        lambda: append(log, b"o\n"),
    ) == [("api-web", "one"), ("api-web", "two")]


def test_a_line_that_does_not_end_is_given_after_a_second(log):
    append(log, b"Password: ")
    steps = (0.5, lambda: None, 0.5, lambda: append(log, b"wrong\n"))
    assert followed(lambda: {"api-web": str(log)}, *steps[:2]) == []
    assert followed(lambda: {"api-web": str(log)}, *steps) == [("api-web", "Password: "), ("api-web", "wrong")]


def test_a_rotation_is_followed_without_loss(log):
    append(log, b"one\n")

    def write_and_rotate():
        append(log, b"two\nthr")
        rotate(log)
        append(log, b"ee\n")

    assert followed(lambda: {"api-web": str(log)}, write_and_rotate, lambda: append(log, b"four\n")) == [
        ("api-web", "one"),
        ("api-web", "two"),
        ("api-web", "three"),
        ("api-web", "four"),
    ]


def test_several_logs_come_as_they_are_written(tmp_path):
    web, worker = tmp_path / "api-web.log", tmp_path / "api-worker.log"
    append(web, b"web 1\n")
    assert followed(
        lambda: {"api-web": str(web), "api-worker": str(worker)},
        lambda: append(worker, b"worker 1\n"),
        lambda: append(web, b"web 2\n"),
    ) == [("api-web", "web 1"), ("api-worker", "worker 1"), ("api-web", "web 2")]


def test_a_program_that_comes_later_is_followed_from_its_first_line(tmp_path):
    found = {}
    log = tmp_path / "api-web.log"

    def start():
        append(log, b"one\ntwo\n")
        found["api-web"] = str(log)

    assert followed(lambda: dict(found), start, lines=1) == [("api-web", "one"), ("api-web", "two")]


def test_a_log_that_talks_without_a_pause_does_not_silence_the_others(tmp_path):
    loud, quiet = tmp_path / "a-loud.log", tmp_path / "b-quiet.log"
    append(loud, b"noise\n" * 100_000)
    append(quiet, b"help\n")
    said = follow(lambda: {"a-loud": str(loud), "b-quiet": str(quiet)}, lines=100_000, clock=ScriptedClock())
    first = [program for program, _ in itertools.islice(said, 20_000)]
    assert "b-quiet" in first


def test_nothing_is_kept_open_between_two_looks(tmp_path):
    def open_descriptors():
        return {path.name for path in Path("/proc/self/fd").iterdir()}

    before = open_descriptors()
    log = tmp_path / "api-web.log"
    append(log, b"one\n")
    seen = []
    followed(lambda: {"api-web": str(log)}, lambda: seen.append(open_descriptors()))
    assert seen == [before]


# pieces of lines


def test_the_splitter_holds_one_capped_line_at_most():
    splitter = Splitter(longest=4)
    for _ in range(1000):
        assert splitter.feed(b"abc") == []
    assert splitter.feed(b"\nde\n") == ["abca… (2996 bytes more)", "de"]
    assert splitter.flush() == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext, ünïcode 漢字 🙂", "plain\ttext, ünïcode 漢字 🙂"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("over\rwritten\x08\x7f\0", "over\\x0dwritten\\x08\\x7f\\x00"),
        ("\x9b31m\x85", "\\x9b31m\\x85"),
        ("a\u202eb\u2066c\u2028d", "a\\u202eb\\u2066c\\u2028d"),
    ],
)
def test_nothing_that_drives_a_terminal_stays(text, shown):
    assert visible(text) == shown
