"""Cases → where the real chpst and ours differ, in what they say and in what the program behind them finds."""

from __future__ import annotations

import marshal
import os
import re
import shutil
import struct
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import runit_compat
from support.chpst_cases import CHILD, NAMES, ODD_NAMES

REPOSITORY = Path(runit_compat.__file__).parents[1]
FILE = REPOSITORY / "runit_compat/chpst.py"
_STARTER = Path(__file__).with_name("chpst_starter.py")
# A program that starts fast tells what it finds before it opens anything; its last change of directory reaches /proc.
PROBE = rb"""
open(my $report, ">&=7"); open(my $proc, "<&=8");
my @texts = map { join(":", (stat $_)[0, 1]) } ".", "/";
chdir($proc);
push @texts, join("\n", map { my $to = readlink("self/fd/$_"); defined $to ? "$_ $to" : () } 0 .. 6, 9 .. 20);
for my $name (qw(environ cmdline status limits stat)) {
    my $file; local $/;
    push @texts, open($file, "<", "self/$name") ? scalar(<$file>) : "cannot read: $!";
}
print $report pack("(N/a*)*", @texts);
"""
_PARTS = ("directory", "root", "descriptors", "environment", "words", "status", "limits", "stat")
_STATUS = re.compile(
    rb"^(?:Umask|Uid|Gid|Groups|SigIgn|SigBlk|SigCgt|CapInh|CapPrm|CapEff|CapBnd|NoNewPrivs):.*$", re.MULTILINE
)


def make_arena(arena: Path) -> None:
    """What is the same in every case: another root with the probe in it, things that are no program, locks."""
    for folder in ("bin/perl", "closed", "root/place", "links"):
        (arena / folder).mkdir(parents=True)
    (arena / "bin/text").write_text("no program")
    (arena / "bin/text").chmod(0o755)
    (arena / "bin/plain").write_text("not executable")
    (arena / "some").write_text("")
    (arena / "held.lock").write_text("")
    (arena / "link.lock").symlink_to("new.lock")
    os.mkfifo(arena / "fifo")
    (arena / "closed").chmod(0)
    for name in {name.rpartition(b"/")[2] for name in (*NAMES, *ODD_NAMES)}:
        (arena / "links" / name.decode()).symlink_to(FILE)
    _make_root(arena / "root")
    arena.chmod(0o777)  # everybody makes locks there


def _make_root(root: Path) -> None:
    needed = subprocess.run(["ldd", "/usr/bin/perl"], stdout=subprocess.PIPE, text=True, check=True).stdout
    for file in ["/usr/bin/perl", "/etc/passwd", *re.findall(r"(/\S+) \(", needed)]:
        there = root / file[1:]
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(file), there)  # /etc/group is missing on purpose


def compare(cases, arena: Path, how: str):
    """For each case, what came of theirs and of ours."""
    done = subprocess.run(
        [sys.executable, "-S", "-E", _STARTER, REPOSITORY, arena, how],
        input=marshal.dumps([_as_plain(case) for case in cases]),
        stdout=subprocess.PIPE,
        check=True,
    )
    for theirs, ours in marshal.loads(done.stdout):
        yield _parse(*theirs), _parse(*ours)


def _as_plain(case) -> dict:
    words = [other for word in case.words for other in ((b"perl", b"-e", PROBE) if word == CHILD else (word,))]
    return asdict(case) | {"words": words}


def _parse(pid: int, status: int, said: bytes, told: bytes, lock) -> dict:
    texts = []
    while told:
        (length,) = struct.unpack_from(">I", told)
        texts.append(told[4 : 4 + length])
        told = told[4 + length :]
    found = dict(zip(_PARTS, texts, strict=False))
    if found:
        found["descriptors"] = re.sub(rb":\[\d+\]", b"", found["descriptors"])
        found["environment"] = sorted(found["environment"].split(b"\0"))
        found["status"] = _STATUS.findall(found["status"])
    fields = found.pop("stat", b"").rpartition(b")")[2].split()
    if len(fields) > 16:  # with too few open files the probe cannot read it
        found |= {"session": int(fields[3]) == pid, "group": int(fields[2]) == pid, "nice": int(fields[16])}
    return {"exit": os.waitstatus_to_exitcode(status), "said": said, "lock": lock, **found}
