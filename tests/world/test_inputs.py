"""What a stamp notices, and when it may be relied on."""

from __future__ import annotations

import os

import pytest

from bootstrap.box import Box
from bootstrap.world import clock, inputs

SECOND_NS = 1_000_000_000


@pytest.fixture
def box(tmp_path):
    (tmp_path / "services/api").mkdir(parents=True)
    (tmp_path / "config/common").mkdir(parents=True)
    (tmp_path / "config/common/A").write_text("1\n")
    return Box(root=str(tmp_path), state=str(tmp_path / "state"))


def content(box):
    return inputs.read_stamp(box, ()).content


def test_a_root_without_services_has_a_stamp_too(tmp_path):
    (tmp_path / "services").mkdir()
    made = Box(root=str(tmp_path), state=str(tmp_path / "state"))
    assert content(made) == content(made)


def test_what_comes_beside_a_definition_is_noticed_and_what_is_behind_a_link_too(box, tmp_path):
    folder, shared = tmp_path / "services/api", tmp_path / "finish"
    shared.write_text("#!/bin/sh\n")
    seen = [content(box)]

    def changed(what):
        what()
        assert content(box) not in seen
        seen.append(content(box))

    changed(lambda: (folder / "run").write_text("#!/bin/sh\n"))
    changed(lambda: (folder / "finish").symlink_to(shared))
    changed(lambda: shared.chmod(0o755))
    changed(lambda: (folder / "Procfile").write_text("web: a\n"))
    changed(lambda: (folder / "Procfile").write_text("web: another\n"))
    changed(lambda: (folder / "service.yaml").write_text("processes: {}\n"))
    changed((folder / "service.yaml").unlink)


@pytest.mark.parametrize(
    ("ages_ns", "settled"),
    [
        ([60_000_001], True),
        ([40_000_001], False),
        ([3 * SECOND_NS], True),
        ([SECOND_NS], False),  # a whole second: there it may be all that is counted in
        ([60_000_001, SECOND_NS], False),
        ([60_000_001, 3 * SECOND_NS], True),
    ],
)
def test_a_change_that_might_not_show_is_waited_for(ages_ns, settled):
    now_ns = clock.wall_ns() // SECOND_NS * SECOND_NS
    reading = inputs._Reading()
    for age_ns in ages_ns:
        at_ns = now_ns - age_ns
        times = {"st_ctime_ns": at_ns, "st_ino": 1, "st_size": 1, "st_dev": 1}
        reading.add(["x"], [type("Status", (), times)])
    assert reading.is_settled(now_ns) is settled


def test_the_same_names_and_times_on_another_device_are_something_else(box, monkeypatch):
    before = content(box)
    real = os.fstat

    def moved(descriptor):
        status = real(descriptor)
        return type(
            "Status",
            (),
            {name: getattr(status, name) for name in dir(status) if name.startswith("st_")} | {"st_dev": 1},
        )

    monkeypatch.setattr(inputs.os, "fstat", moved)
    assert content(box) != before
