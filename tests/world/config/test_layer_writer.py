"""Files of a layer: all of them, or the directory as it was."""

from __future__ import annotations

import pytest

from bootstrap.errors import Unavailable
from bootstrap.world.config.layer_writer import put_back, replace_files


def test_what_can_be_put_back_is_put_back_though_the_disk_refuses_the_rest(tmp_path):
    """On a full disk the first file could not be written again, and the new ones stayed."""
    (tmp_path / "A").mkdir()  # no file can take the place of a directory
    (tmp_path / "B").write_text("new")
    (tmp_path / "C").write_text("new")
    with pytest.raises(Unavailable) as refused:
        put_back({f"{tmp_path}/A": b"old", f"{tmp_path}/B": None, f"{tmp_path}/C": b"old"})
    assert str(refused.value) == (
        f'cannot write "{tmp_path}/A": Is a directory\n'
        "  what runs goes on; way out: mend the disk or its permissions and run the command again"
    )
    assert not (tmp_path / "B").exists()
    assert (tmp_path / "C").read_text() == "old"


def test_a_writing_that_is_refused_halfway_is_undone(tmp_path):
    (tmp_path / "A").write_text("old")
    (tmp_path / "Z").mkdir()
    with pytest.raises(Unavailable):
        replace_files({f"{tmp_path}/A": b"new", f"{tmp_path}/B": b"new", f"{tmp_path}/Z/": b"new"})
    assert (tmp_path / "A").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A", "Z"]
