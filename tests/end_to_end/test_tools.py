"""Services on one box with languages of their own, as mise and asdf have installed them."""

from __future__ import annotations

import os

import pytest

from support.sandbox import wait_until


@pytest.fixture
def data(sandbox):
    """A data directory of mise, with two Pythons and a Go of asdf's kind."""
    data = sandbox.root.parent / "mise"
    install(data, "python/3.11.9/bin", "python")
    install(data, "python/3.12.1/bin", "python")
    os.symlink("3.12.1", data / "installs/python/3.12")
    sandbox.environ["MISE_DATA_DIR"] = str(data)
    return data


def install(data, place, command):
    folder = data / "installs" / place
    folder.mkdir(parents=True)
    (folder / command).write_text(f"#!/bin/sh\necho {place}\n")
    (folder / command).chmod(0o755)


def asking(sandbox, name, text, command="python"):
    """A service that says which one it has found."""
    sandbox.service(
        name, f"processes:\n  web:\n    command: '{command} > {sandbox.root}/{name}.said; exec sleep 1000'\n"
    )
    (sandbox.root / f"services/{name}/.tool-versions").write_text(text)


def said(sandbox, name):
    return wait_until((sandbox.root / f"{name}.said").read_text, f"{name} to have said it")


def test_each_service_finds_its_own_version(sandbox, data):
    install(data, "golang/1.22/go/bin", "go")
    install(data, "node/20.1.0", "node")
    asking(sandbox, "old", "python 3.11.9\n")
    asking(sandbox, "new", "python 3.12 system\n")
    asking(sandbox, "go", "golang 1.22\n", "go")
    asking(sandbox, "node", "nodejs 20.1.0\n", "node")
    asking(sandbox, "own", f"python path:{data}/installs/python/3.11.9\n")
    sandbox.run("up")
    answers = {name: said(sandbox, name).strip() for name in ("old", "new", "go", "node", "own")}
    assert answers == {
        "old": "python/3.11.9/bin",
        "new": "python/3.12.1/bin",
        "go": "golang/1.22/go/bin",
        "node": "node/20.1.0",
        "own": "python/3.11.9/bin",
    }


def test_another_version_restarts_the_service_and_no_other(sandbox, data):
    asking(sandbox, "api", "python 3.11.9\n")
    asking(sandbox, "web", "python 3.11.9\n")
    sandbox.run("up")
    before = sandbox.pids()
    (sandbox.root / "services/api/.tool-versions").write_text("python 3.12.1\n")
    done = sandbox.run("up")
    assert "replace api-web  PATH has changed (services/api/.tool-versions)" in done.stdout
    after = sandbox.pids()
    assert after["web-web"] == before["web-web"]
    assert after["api-web"] != before["api-web"]
    assert said(sandbox, "api") == "python/3.12.1/bin\n"


def test_the_path_is_shown_as_it_is(sandbox, data):
    asking(sandbox, "api", "python 3.11.9\n")
    done = sandbox.run("config", "get", "PATH", "--service", "api")
    assert done.stdout.startswith(f"{data}/installs/python/3.11.9/bin:")
    (sandbox.root / "services/api/.tool-versions").write_text("python 9\n")
    assert str(data) not in sandbox.run("config", "get", "PATH", "--service", "api").stdout


def test_a_missing_version_is_told_with_the_line_that_installs_it(sandbox, data):
    asking(sandbox, "api", "python 3.11.9\nruby 3.3.0\n")
    asking(sandbox, "own", "python path:/nowhere\n")
    done = sandbox.run("up", code=2)
    assert done.stderr == (
        'error: cannot run service "api": ruby 3.3.0 is not installed\n'
        "  where: services/api/.tool-versions:2\n"
        f"  looked in {data}/installs\n"
        f"  way out: MISE_DATA_DIR={data} mise install ruby@3.3.0\n"
        'cannot run service "own": python path:/nowhere is not installed\n'
        "  where: services/own/.tool-versions:1\n"
        "  way out: put it into that directory, or name another one\n"
    )
    assert sandbox.marked() == {}


def test_without_mise_and_asdf_the_file_is_nobodys_until_one_of_them_is_there(sandbox):
    asking(sandbox, "api", "tool 1\n", "(tool || echo none)")
    sandbox.run("up")
    assert said(sandbox, "api") == "none\n"
    data = sandbox.root.parent / "asdf"
    install(data, "tool/1/bin", "tool")
    sandbox.environ["ASDF_DATA_DIR"] = str(data)
    assert "PATH has changed" in sandbox.run("up").stdout
    wait_until(lambda: said(sandbox, "api") == "tool/1/bin\n", "its restart")


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_a_file_that_is_none_is_refused_without_waiting(sandbox, data, kind):
    sandbox.sleeper("api")
    path = sandbox.root / "services/api/.tool-versions"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/etc/hostname")
    done = sandbox.run("up", code=2)
    cause = "it is no regular file" if kind == "fifo" else "it is a link"
    assert done.stderr == (
        f'error: cannot read definition "services/api/.tool-versions": {cause}\n'
        "  way out: put a regular file there that bootstrap may read, of 1 MiB at most\n"
    )
