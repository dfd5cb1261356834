"""What every test gets: an environment without AWS, and a box of its own where it asks for one."""

from __future__ import annotations

import gc
import os
import signal

import pytest

from support.sandbox import Sandbox

LONGEST = (
    "test_boot_storm",
    "test_drain",
    "test_kill_at_every_call",
    "test_random_kills",
    "test_ec2",
    "test_sv_matrix",
)


def pytest_configure():
    """Whoever runs the tests in the background ignores these signals, and what we start would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    gc.disable()  # until everything is imported: see below


def pytest_collection_finish():
    """What stays anyway is not looked through for garbage again and again: that took a twentieth of all the time."""
    gc.freeze()
    gc.set_threshold(100_000)
    gc.enable()


def pytest_xdist_auto_num_workers():
    """More than there are processors: at any moment about half of them wait for a program, a signal or a disk."""
    return 2 * len(os.sched_getaffinity(0))


def pytest_collection_modifyitems(items):
    """What takes long begins first, so that nobody waits for it in the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True)
def no_aws(monkeypatch):
    """No test finds credentials, a region or a metadata service that it did not bring along."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "BOOTSTRAP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def aws_server():
    """The one server that stands for AWS, for all tests: moto takes a second to import."""
    from support.fake_aws import fake_aws_server

    with fake_aws_server() as server:
        yield server


@pytest.fixture
def aws(aws_server, monkeypatch):
    """AWS, empty; whatever is called in this process finds it, and what it starts with ``aws.environ``."""
    from support.fake_aws import FakeAws

    with FakeAws(aws_server) as made:
        for name, value in made.environ.items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def sandbox(tmp_path):
    """A root and a state directory, and the installed command to use on them; everything started is ended."""
    made = Sandbox(tmp_path)
    yield made
    made.clean_up()
