"""A fresh checkout of the reference stack, and commands typed into it in a network of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import private_network

ROOT = Path(__file__).parents[2]


def make_checkout(directory):
    """What a fresh clone has, beside the environment that `make` has set up."""
    for name in ("services", "config"):
        shutil.copytree(ROOT / name, directory / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "bootstrap.env", directory)
    (directory / ".venv").symlink_to(Path(sys.executable).parents[1])
    return directory


def run_all(checkout, commands):
    script = checkout / "script"
    steps = [f"{{ {command}\n}} >{checkout}/out.{number} 2>&1 </dev/null" for number, command in enumerate(commands)]
    script.write_text("\n".join([f"cd {checkout}", *steps, ".venv/bin/bootstrap down >/dev/null 2>&1"]) + "\n")
    words = private_network.words(script)
    if words is None:
        if os.environ.get("CI"):
            pytest.fail("cannot make a network namespace, which CI must be able to")
        pytest.skip("cannot make a network namespace here (needs root or user namespaces)")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        words, env={"PATH": path, "HOME": "/", "AWS_EC2_METADATA_DISABLED": "true"}, timeout=120, check=False
    )
    return [(checkout / f"out.{number}").read_text() for number in range(len(commands))]
