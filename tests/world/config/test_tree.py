"""What stands where nobody reads it, found on disk."""

from __future__ import annotations

import pytest

from bootstrap.catalog import parse_catalog
from bootstrap.world.config.layers import ORDER
from bootstrap.world.config.tree import read_folders, read_misplaced
from bootstrap.world.sources import read_sources

API = "processes: {web: {command: serve}, job: {command: x}}\n"
WRONG = {
    "config/FOO": "it is in no layer, so nobody reads it",
    "config/FOO.ssm": "it is in no layer, so nobody reads it",
    "config/.env": "it is in no layer, so nobody reads it",
    "config/schema.yml": 'nobody reads a file of this name; did you mean "schema.yaml"?',
    "config/layer.yaml": 'nobody reads a file of this name; did you mean "layers.yaml"?',
    "config/modes/prodution": 'no service reads this directory in any mode; did you mean "modes/production"?',
    "config/services/store": (
        "no service reads this directory in any mode, but those below it: common, development, production, review, staging"
    ),
    "config/services/stor/common": (
        'no service reads this directory in any mode; did you mean "services/store/common"?'
    ),
    "config/elsewhere": "no service reads this directory in any mode",
    "services/store/Procfile": "service.yaml stands beside it, and nobody reads both",
}


@pytest.fixture
def misplaced(sandbox):
    sandbox.service("store", API)
    sandbox.config("services/store/common/A", "1")

    def read(order=ORDER):
        found = read_misplaced(sandbox.box, parse_catalog(read_sources(sandbox.box)), order)
        return {one.place: one.text for one in found}

    return read


@pytest.mark.parametrize("place", WRONG)
def test_what_nobody_reads_is_found(sandbox, misplaced, place):
    assert misplaced() == {}
    path = sandbox.root / place
    if not path.name.startswith((".", "FOO", "schema", "layer", "Procfile")):
        path /= "A"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("1\n")
    assert misplaced() == {place: WRONG[place]}


@pytest.mark.parametrize(
    "path",
    ["README.md", "README", "LICENSE", ".gitignore", "layers.yaml", "notes.yaml", "secrets.local.env", "Makefile"],
)
def test_what_is_for_people_or_for_bootstrap_is_left_alone(sandbox, misplaced, path):
    sandbox.config(path, "1")
    assert misplaced() == {}


@pytest.mark.parametrize(
    "path", ["modes/review/A", "services/store/staging/A", "common/.env", ".git/A", "common/deeper/A"]
)
def test_layers_are_left_alone_with_all_that_is_in_them(sandbox, misplaced, path):
    sandbox.config(path, "1")
    assert misplaced() == {}


def test_another_order_makes_other_layers(sandbox, misplaced):
    order = ("base", "services/{service}/common", "per-process/{service}/{process}", "regions/eu")
    for path in ("base/A", "per-process/store/job/A", "per-process/store/jobs/A", "regions/eu/A", "modes/review/A"):
        sandbox.config(path, "1")
    assert misplaced(order) == {
        "config/modes/review": "no service reads this directory in any mode",
        "config/per-process/store/jobs": (
            'no service reads this directory in any mode; did you mean "per-process/store/job"?'
        ),
    }


def test_lint_looks_into_every_directory(sandbox):
    sandbox.config("common/deeper/A", "1")
    sandbox.config("common/A", "1")
    assert read_folders(sandbox.box) == ["common", "common/deeper"]
    assert read_folders(sandbox.box, {"common"}) == []


def test_plan_and_up_mention_it_once_each_and_go_on(sandbox):
    sandbox.sleeper("api")
    sandbox.config("FOO", "1")
    sandbox.config("modes/prodution/A", "1")
    said = [
        "not read: config/FOO: it is in no layer, so nobody reads it",
        'not read: config/modes/prodution: no service reads this directory in any mode; did you mean "modes/production"?',
    ]
    start = "start   api-web  it is not running"
    assert sandbox.run("plan").stdout.splitlines() == [*said, start]
    assert sandbox.run("-q", "plan").stdout == ""
    done = sandbox.run("plan", "--json")
    assert (done.json["changed"], done.stderr.splitlines()) == (True, said)
    assert sandbox.run("up").stdout.splitlines()[:3] == [*said, start]
