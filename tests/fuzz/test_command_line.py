"""Whatever is typed: a documented exit code, and never a traceback."""

from __future__ import annotations

import os
import subprocess

from hypothesis import given
from hypothesis import strategies as st

from bootstrap.cli.main import VERBS
from support.mutation import examples
from support.sandbox import COMMAND

HARMLESS = sorted(
    VERBS.keys() - {"boot", "chpst", "up", "logs", "run", "sv"}
)  # those would wait, start something, run what is typed, or exit as runit does
WORDS = st.sampled_from(
    [b"--json", b"--tag", b"mode=review", b"mode=\xff", b"--root", b"/", b"--state", b"-v", b"-q", b"--plan", b"\xff\xfe",
     b"", b"--", b"api-*", b"[", b"../..", b"--tags-file", b"/dev/null", b"/proc/self/mem", b"--timeout", b"1e9", b"-1s",
     b"list", b"get", b"explain", b"A" * 5000, "ünïcode".encode(), b"--mode", b"--service", b"a\nb", b"\x1b[31m"]
)  # fmt: skip
DOCUMENTED = {0, 1, 2, 3, 75, 124}


@given(verb=st.sampled_from(HARMLESS), words=st.lists(WORDS, max_size=4), before=st.lists(WORDS, max_size=2))
@examples(40)
def test_what_is_typed(verb, words, before, tmp_path):
    (tmp_path / "services").mkdir(exist_ok=True)
    (tmp_path / "config").mkdir(exist_ok=True)
    environ = {"PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true", "BOOTSTRAP_STATE": str(tmp_path / "s")}
    done = subprocess.run(
        [os.fsencode(COMMAND), *before, verb.encode(), *words],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env=environ,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.returncode in DOCUMENTED, (done.args, done.stderr)
    assert b"Traceback" not in done.stdout + done.stderr
    assert not set(done.stderr) & {0x1B, 0x00, 0x07}, "what is quoted cannot move the cursor"
