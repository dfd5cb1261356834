"""What is read from and written to control groups that have a memory controller, which not every machine has."""

from __future__ import annotations

import pytest

from bootstrap.box import Box
from bootstrap.world import cgroups, disk
from bootstrap.world.plugin.memory import Memory


@pytest.fixture
def group(tmp_path):
    return tmp_path


def program(group, name, kills=0):
    (group / name).mkdir()
    (group / name / "memory.max").write_text("123")
    (group / name / "memory.events").write_text(f"low 0\nhigh 0\nmax 7\noom 1\noom_kill {kills}\noom_group_kill 0\n")
    return group / name


def test_a_limit_that_has_left_the_definition_leaves_the_group(group):
    file = program(group, "api-web") / "memory.max"
    cgroups.make(str(group), "api-web")
    assert file.read_text() == "max"


def test_a_group_is_made_where_there_is_none(group):
    cgroups.make(str(group), "api-web")
    cgroups.make(str(group), "api-web")
    assert [path.name for path in group.rglob("*")] == ["api-web"]


def test_a_kill_of_an_earlier_supervisor_s_days_is_no_news(group):
    program(group, "api-web", kills=1)
    memory = Memory(str(group))
    assert not memory.has_run_out("api-web")
    (group / "api-web/memory.events").write_text("oom_kill 2\n")
    assert memory.has_run_out("api-web")
    assert not memory.has_run_out("api-web")


def test_what_befalls_another_group_is_not_told_of_this_one(group, monkeypatch):
    monkeypatch.setattr(Memory, "_read_box", lambda _self: next(count))
    count = iter(range(100))
    program(group, "api-web")
    memory = Memory(str(group))
    assert not memory.has_run_out("api-web")
    assert memory.has_run_out("web-web")  # it has no group: the box's count has to do


def test_what_is_left_in_a_group_is_killed_at_once(group, tmp_path_factory):
    box = Box(root="/", state=str(tmp_path_factory.mktemp("state")))
    (tmp_path_factory.getbasetemp() / box.run).mkdir(parents=True, exist_ok=True)
    cgroups.record(box, str(group))
    for name, populated in (("api-web", 1), ("api-worker", 0), ("web-web", 1)):
        folder = program(group, name)
        (folder / "cgroup.events").write_text(f"populated {populated}\nfrozen 0\n")
        (folder / "cgroup.kill").touch()
    assert cgroups.kill_left(box, {"api-web", "api-worker"})
    assert [name for name in ("api-web", "api-worker", "web-web") if (group / name / "cgroup.kill").read_text()] == [
        "api-web"
    ]
    assert not cgroups.kill_left(box, {"api-worker"})
    assert disk.read_if_there(f"{box.run}/cgroup")
