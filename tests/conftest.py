"""What every test gets: an environment without AWS, and a box of its own where it asks for one."""

from __future__ import annotations

import os

import pytest

from support.sandbox import Sandbox


@pytest.fixture(autouse=True)
def no_aws(monkeypatch):
    """No test finds credentials, a region or a metadata service that it did not bring along."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "BOOTSTRAP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def sandbox(tmp_path):
    """A root and a state directory, and the installed command to use on them; everything started is ended."""
    made = Sandbox(tmp_path)
    yield made
    made.clean_up()
