"""Whatever stands in a file or comes over a wire: our own error or a value, never another exception."""

from __future__ import annotations

import contextlib
import json
import os
import xmlrpc.client
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.box import Box
from bootstrap.catalog import Sources, parse_catalog
from bootstrap.config.dotenv_file import parse_dotenv
from bootstrap.config.layer_order import parse_order
from bootstrap.definition import Alive, render_probe
from bootstrap.errors import BootstrapError
from bootstrap.identity import parse_identity
from bootstrap.ledger import parse_ledger
from bootstrap.observed import ObservedProgram
from bootstrap.reading.problem import FlawedError
from bootstrap.rendering import Generation, Unit, parse_summary, render_summary
from bootstrap.tag import KEYS, Tag
from bootstrap.world import (
    by_hand,
    cgroups,
    checks_record,
    ledger_file,
    lock,
    masking,
    processes,
    scripts,
    stopping,
    store,
    tags,
    tags_file,
)
from bootstrap.world.config import layers
from bootstrap.world.ready_record import ReadyRecord
from bootstrap.world.rpc import Fault, parse_answer
from support.mutation import examples, mutated

ROOT = Path(__file__).parents[2]
SERVICES = [path.read_bytes() for path in sorted(ROOT.glob("services/*/service.yaml"))]
MODES = b"modes:\n  review: {runs: everything}\n  canary: {runs: one, description: x}\n"
PROCFILE = b"web: exec serve --port $PORT\nworker: exec work\n# a comment\nrelease: ./migrate\n"
ORDER = b"layers:\n- common\n- modes/{mode}\n- services/{service}/common\n- services/{service}/{mode}\n"
DOTENV = b"BOOTSTRAP_MODE=review\nexport A='b c'\nB=\"x\\ny\"\n# c\nBOOTSTRAP_REF_API=fix-1\nC=${A}\n"
LEDGER = b'{"event": "start", "at": 1.5, "pid": 3, "fingerprint": "f", "generation": "g"}\n{"event": "exit", "at": 2}\n'


def accept(act, *arguments, also=()):
    """Run it; our own errors are fine."""
    with contextlib.suppress(BootstrapError, *also):
        act(*arguments)


@given(content=mutated(*SERVICES))
@examples(300)
def test_service_files(content):
    accept(parse_catalog, Sources(root="/r", files={"services/api/service.yaml": content}))


@given(content=mutated(MODES))
@examples(150)
def test_mode_files(content):
    accept(parse_catalog, Sources(root="/r", files={"services/modes.yaml": content}))


@given(content=mutated(PROCFILE))
@examples(150)
def test_procfiles(content):
    accept(parse_catalog, Sources(root="/r", files={"services/api/Procfile": content}))


@given(content=mutated(ORDER))
@examples(150)
def test_layer_orders(content):
    accept(parse_order, content, also=(FlawedError,))


@given(content=mutated(DOTENV))
@examples(300)
def test_dotenv_files(content):
    accept(parse_dotenv, content, also=(FlawedError,))


@given(content=mutated(DOTENV))
@examples(150)
def test_tags_files(content, tmp_path):
    path = tmp_path / "tags.env"
    path.write_bytes(content)
    accept(tags_file.read_tags_file, str(path))


@given(values=st.lists(st.tuples(st.sampled_from(KEYS) | st.text(max_size=20), st.text(max_size=300)), max_size=8))
@examples(500)
def test_tags(values):
    accept(parse_identity, [Tag(key=key, value=value, source="test") for key, value in values])


@given(content=mutated(LEDGER))
@examples(300)
def test_ledgers(content):
    for life in parse_ledger(content.splitlines()):
        assert life.words


ANSWER = xmlrpc.client.dumps(([{"name": "a", "pid": 3, "up": True}, "x", 1.5],), methodresponse=True).encode()


@given(content=mutated(ANSWER))
@examples(500)
def test_answers_of_supervisord(content):
    accept(parse_answer, content, also=(ValueError, Fault))


UNIT = Unit(
    name="api-web",
    service="api",
    process="web",
    fingerprint="f1",
    wave=0,
    needs=("db",),
    port=8001,
    ready=render_probe(Alive()),
    stop_signal="TERM",
    stop_grace_s=10.0,
    stop_script=None,
    stop_group=False,
    reload="HUP",
    restart_window_s=60.0,
    restart_starts=5,
    setup=("./migrate",),
)
SUMMARY = render_summary(Generation(id="g", mode="production", service="api", units=(UNIT,)))
PROGRAM = ObservedProgram(
    name="api-web",
    fingerprint="f1",
    state="running",
    pid=3,
    age_s=1.0,
    started_at=1.5,
    restarts=0,
    deaths=0,
    last_exit=None,
)
FACTS = json.dumps(
    {"file": "f", "command": "c", "stop": {"signal": "TERM", "grace_s": 1.0, "group": False}, "env": {"A": ["d", "f"]}}
).encode()
STATE = {
    "run/ready.json": (b'{"api-web": [3, 1.5]}', lambda box: ReadyRecord(box).knows(PROGRAM)),
    "run/sessions.json": (b'{"3": 12345}', processes.read_marked),
    "run/setups.json": (b'{"api": "f1"}', scripts._read_done),
    "run/checks.json": (b'{"api-web": "why"}', checks_record.read_failing),
    "run/cgroup": (b"/sys/fs/cgroup/x", cgroups.read_members),
    "run/lock": (
        b'{"pid": 3, "doing": "up", "since": "now"}',
        lambda box: lock._read_holder(os.open(box.lock, os.O_RDONLY)),
    ),
    "run/remembered": (b"g\nstamp", lambda box: store.read_remembered(box, b"stamp")),
    "stopped.json": (b'{"api-web": true}', by_hand.read_stopped),
    "last-identity.json": (
        b'{"tags": [{"key": "bootstrap:mode", "value": "x", "source": "y"}]}',
        tags.read_last_identity,
    ),
    "log/ledger/api-web.jsonl": (LEDGER, lambda box: ledger_file.read_lives(box, "api-web")),
    "run/store/api-web-f1/program.json": (FACTS, lambda box: stopping.read_ladders(box, {"api-web": "api-web-f1"})),
    "run/store/api-web-f1/secrets": (b'["one", "two"]', lambda box: masking.mask(box, UNIT, "a text")),
    "key": (b"k" * 32, lambda box: store.read_key(box, keep=False)),
}


@pytest.mark.parametrize("name", STATE)
@given(data=st.data())
@examples(60)
def test_files_of_ours_that_are_damaged(name, data, tmp_path):
    box = Box(root=str(tmp_path), state=str(tmp_path))
    seed, read = STATE[name]
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.draw(mutated(seed, b"[]", b"3", b'"x"', b"null", b"{}")))
    accept(read, box)


@given(data=st.data())
@examples(200)
def test_summaries_of_generations(data):
    try:
        found = parse_summary(data.draw(mutated(SUMMARY)))
    except (ValueError, RecursionError):
        return
    assert found.units is not None


NAMES = st.sampled_from(["A", "a", ".env", "A.ssm", "B.secret", "A=B", "ü", "-x", "A B", ".git", "A\n", "layers.yaml"])


@given(files=st.dictionaries(NAMES, mutated(DOTENV, b"value \t\nrest", b"", b"/path\n"), max_size=6))
@examples(200)
def test_layer_directories(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("layer")
    for name, content in files.items():
        (folder / "config" / "common").mkdir(parents=True, exist_ok=True)
        (folder / "config" / "common" / name).write_bytes(content)
    accept(layers.read_layers, Box(root=str(folder), state=str(folder)), ["common"])
