"""Generations on disk: whole or not there, in force by one rename, pruned without harm."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bootstrap.box import Box
from bootstrap.definition import Http, render_probe
from bootstrap.errors import DefinitionError, Unavailable
from bootstrap.rendering import Generation, Rendering, StoreEntry
from bootstrap.world import disk, store
from test_reconcile import unit


@pytest.fixture
def box(tmp_path):
    made = Box(root=str(tmp_path), state=str(tmp_path / "state"))
    store.open_state(made)
    store.forget_earlier_boot(made)
    return made


def rendering(name="g1", fingerprint="f1"):
    generation = Generation(id=name, mode="review", service=None, units=(unit(fingerprint=fingerprint),))
    files = {"run": (b"#!/bin/sh\n", 0o700), "env": (b"x", 0o600), "control/t": (b"t", 0o700)}
    return Rendering(generation=generation, entries=(StoreEntry(name=f"api-web-{fingerprint}", files=files),))


def test_state_is_ours_alone_where_values_are(box):
    modes = {name: stat.S_IMODE(os.stat(f"{box.state}/{name}").st_mode) for name in ("run", "run/store", "generations")}
    assert modes == {"run": 0o700, "run/store": 0o700, "generations": 0o700}


def test_a_generation_comes_back_as_it_was_written(box):
    written = rendering()
    store.write_generation(box, written)
    assert store.read_generation(box, "g1") == written.generation
    assert store.has_entries(box, written.generation)
    assert stat.S_IMODE(os.stat(f"{box.store}/api-web-f1/control/t").st_mode) == 0o700


def test_a_generation_of_no_programs_is_one_too(box):
    empty = Generation(id="g0", mode="review", service=None, units=())
    store.write_generation(box, Rendering(generation=empty, entries=()))
    store.switch_current(box, empty)
    assert store.read_current(box) == empty


def test_nothing_is_in_force_before_the_switch(box):
    store.write_generation(box, rendering())
    assert store.read_current(box) is None
    store.switch_current(box, rendering().generation)
    assert store.read_current(box) == rendering().generation


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"id": 1}', b'{"id":"g1","mode":"m","service":null,"units":[{}]}']
)
def test_a_damaged_generation_is_no_generation(box, damage):
    store.write_generation(box, rendering())
    disk.write_durably(f"{box.generations}/g1/generation.json", damage)
    assert store.read_generation(box, "g1") is None


def test_an_entry_that_was_cut_off_is_written_again(box):
    os.mkdir(f"{box.store}/.new-api-web-f1")
    store.write_generation(box, rendering())
    assert os.listdir(box.store) == ["api-web-f1"]


def test_what_was_remembered_counts_only_while_all_of_it_is_there(box):
    written = rendering()
    store.write_generation(box, written)
    store.write_remembered(box, b"stamp", written.generation)
    assert store.read_remembered(box, b"stamp") == written.generation
    assert store.read_remembered(box, b"another") is None
    os.rename(f"{box.store}/api-web-f1", f"{box.store}/gone")
    assert store.read_remembered(box, b"stamp") is None


def test_pruning_keeps_what_runs_and_the_newest_generations(box):
    count = 2 * store.KEPT_GENERATIONS + 1
    for number in range(count):
        store.write_generation(box, rendering(f"g{number}", f"f{number}"))
        os.utime(f"{box.generations}/g{number}", (number, number))
    store.prune(box, rendering("g0", "f0").generation, running=["api-web-f1"])
    newest = range(count - store.KEPT_GENERATIONS, count)
    assert sorted(os.listdir(box.generations)) == sorted(["g0", *(f"g{number}" for number in newest)])
    assert sorted(os.listdir(box.store)) == sorted(f"api-web-f{number}" for number in (0, 1, *newest))


def test_what_killed_runs_have_left_is_removed_and_nothing_else(box):
    store.write_generation(box, rendering())
    store.switch_current(box, rendering().generation)
    before = sorted(os.listdir(box.state)), sorted(os.listdir(box.run))
    for path in (f"{box.store}/.new-api-web-f9", f"{box.store}/.old-api-web-f0", f"{box.generations}/.new-g9"):
        os.makedirs(f"{path}/control")
    for path in (f"{box.run}/.ready.json.0123456789ab", f"{box.state}/.key.0123456789ab"):
        disk.write_durably(path, b"half")
    os.symlink("generations/g9", f"{box.state}/.current.0123456789ab")
    store.remove_leftovers(box)
    assert (sorted(os.listdir(box.state)), sorted(os.listdir(box.run))) == before
    assert os.listdir(box.store) == ["api-web-f1"]
    assert os.listdir(box.generations) == ["g1"]


def test_an_entry_that_is_being_removed_is_not_there(box, monkeypatch):
    import shutil

    store.write_generation(box, rendering())
    monkeypatch.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    os.unlink(f"{box.store}/api-web-f1/env")
    with pytest.raises(Unavailable):
        store.write_generation(box, rendering())
    assert not store.has_entries(box, rendering().generation)


def test_a_down_that_meets_somebody_who_begins_anew_leaves_him_his_lock(box, monkeypatch):
    remove = disk.remove_if_there

    def remove_and_begin_anew(path):
        remove(path)
        if path == box.lock:
            disk.write_for_this_boot(box.lock, b"another")

    monkeypatch.setattr(disk, "remove_if_there", remove_and_begin_anew)
    store.remove_everything(box)
    assert os.listdir(box.run) == ["lock"]


def test_a_reboot_forgets_everything_in_the_run_directory_but_not_the_generations(box, monkeypatch, tmp_path):
    store.write_generation(box, rendering())
    store.switch_current(box, rendering().generation)
    other_boot = tmp_path / "boot-id"
    other_boot.write_text("another boot\n")
    monkeypatch.setattr(store, "_BOOT_ID", str(other_boot))
    store.forget_earlier_boot(box)
    assert os.listdir(box.store) == []
    assert store.read_current(box) == rendering().generation


def test_state_without_a_format_is_rendered_anew(box):
    store.write_generation(box, rendering())
    store.write_remembered(box, b"stamp", rendering().generation)
    assert store.read_remembered(box, b"stamp") is not None
    store.settle_format(box)
    assert store.read_remembered(box, b"stamp") is None
    store.write_remembered(box, b"stamp", rendering().generation)
    store.settle_format(box)
    assert store.read_remembered(box, b"stamp") is not None


@pytest.mark.parametrize("damaged", [b"", b"x\n", b"0\n"])
def test_a_damaged_format_is_written_again(box, damaged):
    Path(f"{box.state}/format").write_bytes(damaged)
    store.settle_format(box)
    assert Path(f"{box.state}/format").read_bytes() == b"1\n"


def test_state_of_a_newer_bootstrap_is_refused_and_left_alone(box):
    Path(f"{box.state}/format").write_bytes(b"2\n")
    with pytest.raises(DefinitionError) as error:
        store.settle_format(box)
    assert str(error.value) == (
        f'cannot use the state directory "{box.state}": a newer bootstrap has written it (format 2; this one knows 1)\n'
        "  way out: install that version again, or run its `bootstrap down` first"
    )
    assert Path(f"{box.state}/format").read_bytes() == b"2\n"


def test_the_key_is_made_once(box):
    assert store.read_key(box) == store.read_key(box)
    assert len(store.read_key(box)) == 32
    assert stat.S_IMODE(os.stat(f"{box.state}/key").st_mode) == 0o600


def test_a_disk_that_is_full_leaves_no_half_entry(box, monkeypatch):
    monkeypatch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(Unavailable) as caught:
        store.write_generation(box, rendering())
    assert str(caught.value) == (
        f'cannot write "{box.store}/api-web-f1": No space left on device\n'
        "  what runs goes on; way out: mend the disk or its permissions and run the command again"
    )
    monkeypatch.undo()
    assert not store.has_entries(box, rendering().generation)
    store.write_generation(box, rendering())
    assert store.has_entries(box, rendering().generation)


def test_every_kind_of_probe_survives_the_summary(box):
    from dataclasses import replace

    generation = Generation(
        id="g", mode="m", service="s", units=(replace(unit(), ready=render_probe(Http(path="/x", timeout_s=3.0))),)
    )
    store.write_generation(box, Rendering(generation=generation, entries=(StoreEntry(name="api-web-new", files={}),)))
    assert store.read_generation(box, "g") == generation
