"""Our layers against the real ``chpst -e``, file by file and nested.

What we refuse on purpose is on a list (docs/import.md, "Differences from chpst -e") and in tests of its own at the end;
the long run strews it among generated directories and lets nothing else differ.
"""

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bootstrap.box import Box
from bootstrap.definition import Process, Service
from bootstrap.environ import STANDARD_PATH, Layering, layer_environments
from bootstrap.errors import DefinitionError
from bootstrap.identity import Identity
from bootstrap.plan import Plan, Program
from bootstrap.variable import Account
from bootstrap.world.config.layers import read_layer, read_layers

BATCHES, FILES = 40, 275  # 11 000 files in all
NESTINGS, DEEPEST = 320, 7
FIRST = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
PIECES = [
    *(bytes([byte]) for byte in range(256)),
    *[b"\n", b"\0", b" ", b"\t", b"\r"] * 30,
    *[b" \t ", b"\n\n", b"\0\0", b" \n", b"\0 ", b" \0", b"=", b"'", b'"', b"$HOME", b"\\n", b"#", "ü€".encode()] * 5,
]
# What may be refused: how the refusal begins its cause → the words for it in docs/import.md.
DIFFERENCES = {
    "its name is no name for a variable": "names that no shell can use",
    "it looks like an editor's backup": "backups of editors",
    r"\w+ is set by bootstrap alone": "names that bootstrap sets",
    "it is a link to ": "links",
    "it is no regular file": "FIFOs, sockets and devices",
    "it is larger than 128 KiB": "files larger than 128 KiB",
    "it refers to nothing": "references",
    r"\w+ stands beside it": "a value and a reference with one name",
}
IS_LONG = os.environ.get("BOOTSTRAP_TEST_LONG") == "1"
LONG_BATCHES, LONG_NESTINGS, VALUES_PER_DIRECTORY = (10, 2500, 10) if IS_LONG else (1, 50, 10)
KEYS = [f"{first}{second}" for first in "ABCDEF" for second in "012345"] + ["A", "B", "PATH", "HOME"]
NESTED_KEYS = ["PATH", "HOME", "USER", "A", "B", "C", "D", "E", "F"]


@pytest.fixture(scope="module")
def chpst():
    found = shutil.which("chpst")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("chpst is missing: the comparison with runit cannot run; install the Debian package runit")
    if found is None:
        pytest.skip("chpst is missing; install the Debian package runit to compare with it")
    return found


@pytest.fixture
def box(tmp_path):
    (tmp_path / "config").mkdir()
    return Box(root=str(tmp_path), state="/state")


@pytest.fixture
def dice(request):
    """Other numbers in every run; a failure shows the seed, and CHPST_SEED brings it back."""
    seed = int(os.environ.get("CHPST_SEED") or random.SystemRandom().randrange(2**32))
    sys.stdout.write(f"CHPST_SEED={seed}\n")
    return random.Random(f"{seed} {request.node.name}")


def run_chpst(chpst, directories, environ):
    """What a command finds behind ``chpst -e a chpst -e b …``."""
    words = [word for directory in directories for word in (chpst, "-e", str(directory))]
    done = subprocess.run([*words, "/usr/bin/env", "-0"], env=environ, stdout=subprocess.PIPE, check=True)
    return dict(pair.split(b"=", 1) for pair in done.stdout.split(b"\0") if pair)


def as_bytes(values):
    return {key.encode(): value.encode(errors="surrogateescape") for key, value in values.items()}


def content(dice):
    kind = dice.random()
    if kind < 0.08:
        return b""
    if kind < 0.10:
        return dice.randbytes(dice.randrange(1, 20_000))
    if kind < 0.50:
        return bytes(dice.choice(b"ab \t\n\0") for _ in range(dice.randrange(1, 9)))
    return b"".join(dice.choices(PIECES, k=dice.randrange(1, 30)))


def name(dice):
    return dice.choice(FIRST) + "".join(dice.choices(FIRST + "0123456789", k=dice.randrange(3, 24)))


def clutter(directory):
    """What both ignore."""
    (directory / ".A.swp").write_text("x")
    (directory / ".hidden").mkdir()
    (directory / "some dir").mkdir()


@pytest.mark.parametrize("batch", range(BATCHES))
def test_every_file_means_what_it_means_to_chpst(batch, chpst, box, dice):
    directory = Path(box.config, "common")
    directory.mkdir()
    clutter(directory)
    files = sorted({name(dice) for _ in range(FILES)})
    for file in files:
        (directory / file).write_bytes(content(dice))
    before = {file: "before" for file in files if dice.random() < 0.5} | {"UNTOUCHED": "by all"}
    ours = dict(before)
    for key, setting in read_layer(box, "common").settings.items():
        if setting.value is None:
            ours.pop(key, None)
        else:
            ours[key] = setting.value
    assert as_bytes(ours) == run_chpst(chpst, [directory], before)
    assert len(files) > FILES - 5


def test_layers_lie_on_one_another_as_nested_chpsts_do(chpst, box, dice):
    for number in range(NESTINGS):
        names = tuple(f"{number}-{depth}" for depth in range(dice.randrange(1, DEEPEST + 1)))
        for layer in names:
            directory = Path(box.config, layer)
            directory.mkdir()
            for key in dice.sample(NESTED_KEYS, dice.randrange(len(NESTED_KEYS))):
                raw = b"" if dice.random() < 0.25 else content(dice)
                (directory / key).write_bytes(raw)
        env = dict.fromkeys(dice.sample(NESTED_KEYS, 3), f"env of {number}")
        base = {"PATH": STANDARD_PATH, "HOME": "/home/ann", "USER": "ann"}
        directories = [Path(box.config, layer) for layer in names]
        assert as_bytes(environment(box, names, env)) == run_chpst(chpst, directories, base | env), names


def environment(box, names, env):
    """What our program finds, but for what bootstrap sets above all layers."""
    process = Process(name="web", command="x")
    service = Service(name="api", file="services/api/service.yaml", folder="/x", env=env, processes={"web": process})
    program = Program(name="api-web", service=service, process=process, instance=1, port=None, wave=0)
    plan = Plan(identity=Identity(mode="review", scale={}, refs={}, tags=()), programs=(program,))
    layering = Layering(order=names, layers=read_layers(box, names))
    account = Account(name="ann", uid=1000, gid=1000, home="/home/ann")
    found = layer_environments(plan, layering, {"api-web": account}, {}, box)["api-web"]
    return {key: variable.value for key, variable in found.variables.items() if variable.layer != "bootstrap"}


@pytest.mark.parametrize(
    ("file", "value"),
    [("we ird", b"x"), ("1A", b"x"), ("A-B", b"x"), ("PORT", b"80"), ("A.ssm", b""), ("A", b"x\n" + b"y" * 200_000)],
)
def test_we_refuse_files_that_chpst_takes(chpst, box, file, value):
    directory = Path(box.config, "common")
    directory.mkdir()
    (directory / file).write_bytes(value)
    run_chpst(chpst, [directory], {})
    with pytest.raises(DefinitionError):
        read_layer(box, "common")


def test_we_refuse_links_that_chpst_follows(chpst, box):
    directory = Path(box.config, "common")
    directory.mkdir()
    elsewhere = Path(box.root, "elsewhere")
    elsewhere.write_text("x")
    (directory / "A").symlink_to(elsewhere)
    assert run_chpst(chpst, [directory], {}) == {b"A": b"x"}
    with pytest.raises(DefinitionError):
        read_layer(box, "common")


def strew(directory, dice):
    """Something that chpst takes in its way and we refuse; the answer is how to take it away again."""
    kind = dice.randrange(8)
    path = directory / ["we ird", "A1~", "PORT", "LINK", "FIFO", "LARGE", "EMPTY.ssm", "A.secret"][kind]
    match path.name:
        case "LINK":
            path.symlink_to("/etc/hostname")
        case "FIFO":
            os.mkfifo(path)
        case "LARGE":
            path.write_bytes(b"x\n" + b"y" * 140_000)
        case "EMPTY.ssm":
            path.write_bytes(b"")
        case "A.secret":
            (directory / "A").write_bytes(b"x\n")
            path.write_bytes(b"id\n")
        case _:
            path.write_bytes(b"x\n")
    return path


@pytest.mark.parametrize("batch", range(LONG_BATCHES))
def test_generated_nestings_differ_only_as_documented(batch, chpst, box, dice):
    values = directories = 0
    for number in range(LONG_NESTINGS):
        names = tuple(f"{number}-{depth}" for depth in range(4))
        odd = []
        for layer in names:
            directory = Path(box.config, layer)
            directory.mkdir()
            directories += 1
            for key in dice.sample(KEYS, VALUES_PER_DIRECTORY):
                (directory / key).write_bytes(b"" if dice.random() < 0.15 else content(dice))
                values += 1
            if dice.random() < 0.03:
                odd.append(strew(directory, dice))
        if odd:
            assert_refused(box, names)
        for path in odd:
            path.unlink()
        base = {"PATH": STANDARD_PATH, "HOME": "/home/ann", "USER": "ann"}
        found = run_chpst(chpst, [Path(box.config, layer) for layer in names], base)
        assert as_bytes(environment(box, names, {})) == found, names
        for layer in names:
            shutil.rmtree(Path(box.config, layer))
    assert directories == 4 * LONG_NESTINGS
    assert values == directories * VALUES_PER_DIRECTORY


def assert_refused(box, names):
    """Whatever is refused is refused for a reason on the list."""
    with pytest.raises(DefinitionError) as caught:
        read_layers(box, names)
    for problem in caught.value.problems:
        cause = problem.partition(": ")[2]
        assert any(re.match(known, cause) for known in DIFFERENCES), problem


def test_every_difference_is_documented():
    text = " ".join((Path(__file__).parents[1] / "docs/import.md").read_text().split())
    assert [words for words in DIFFERENCES.values() if words not in text] == []
