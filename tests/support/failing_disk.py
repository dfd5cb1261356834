"""A small disk of its own that can be made to fail as disks do: from one moment to the next it takes nothing any more."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from support.private_world import give_up


class FailingDisk:
    """An ext4 below a directory. Mount it in a private world: it is gone with that."""

    def __init__(self, directory):
        if shutil.which("mkfs.ext4") is None:
            give_up("mkfs.ext4 (Debian package e2fsprogs) is not installed")
        image = directory / "image"
        self.path = directory / "disk"
        self.path.mkdir()
        with image.open("wb") as file:
            file.truncate(64 * 1024**2)  # a log and all that it is rolled over into have room
        _run("mkfs.ext4", "-q", "-F", str(image))
        _run("mount", "-o", "loop,errors=remount-ro", str(image), str(self.path))

    def fill(self):
        """Take all the room that is left."""
        with (self.path / "filler").open("wb", buffering=0) as file:
            for size in (1024 * 1024, 1024, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def make_room(self):
        (self.path / "filler").unlink()

    def fail(self):
        """What the kernel does to a disk on which it has found an error."""
        device = Path(_run("findmnt", "-no", "SOURCE", str(self.path)).strip()).name
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("1")


def _run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout
