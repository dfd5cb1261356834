import os
import signal
import socket

import pytest

from bootstrap.box import Box
from bootstrap.errors import DefinitionError
from bootstrap.world.sources import LARGEST, read_modes, read_sources


@pytest.fixture
def root(tmp_path):
    (tmp_path / "services").mkdir()
    return tmp_path


def write(root, path, content="x"):
    file = root / "services" / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    return file


def read(root):
    return read_sources(Box(root=str(root), state=str(root / "state")))


def refused(root):
    with pytest.raises(DefinitionError) as caught:
        read(root)
    return list(caught.value.problems)


def refusal(path, cause):
    return (
        f'cannot read definition "{path}": {cause}\n'
        "  way out: put a regular file there that bootstrap may read, of 1 MiB at most"
    )


def test_every_folders_definition_and_the_modes_are_read(root):
    write(root, "modes.yaml", "modes")
    write(root, "api/service.yaml", "api")
    write(root, "old/Procfile", "old")
    sources = read(root)
    assert sources.root == str(root)
    assert sources.files == {
        "services/api/service.yaml": b"api",
        "services/modes.yaml": b"modes",
        "services/old/Procfile": b"old",
    }


def test_a_service_yaml_wins_over_a_procfile(root):
    write(root, "api/Procfile")
    write(root, "api/service.yaml")
    assert list(read(root).files) == ["services/api/service.yaml"]


def test_what_is_no_service_is_left_alone(root):
    write(root, "README.md")
    write(root, ".git/service.yaml")
    write(root, "__pycache__/service.yaml")
    write(root, "Shared_Code/helpers.py")
    (root / "services" / "empty").mkdir()
    (root / "services" / "CHANGES.md").symlink_to("README.md")
    (root / "services" / ".cache").symlink_to("empty")
    assert read(root).files == {}


@pytest.mark.parametrize(
    ("file", "meant"),
    [
        ("service.yml", "service.yaml"),
        ("services.yaml", "service.yaml"),
        ("Service.yaml", "service.yaml"),
        ("procfile", "Procfile"),
    ],
)
def test_a_definition_under_a_name_that_is_none_is_refused(root, file, meant):
    write(root, f"api/{file}")
    assert refused(root) == [
        f'cannot read definition "services/api/{file}": no definition has this name\n  way out: rename it to {meant}'
    ]
    write(root, f"api/{meant}")
    assert list(read(root).files) == [f"services/api/{meant}"], "beside a definition it is none of our business"


def test_an_empty_file_is_read_as_such(root):
    write(root, "api/service.yaml", "")
    assert read(root).files == {"services/api/service.yaml": b""}


def test_a_root_without_services_is_refused_with_the_option_that_names_another(tmp_path):
    assert refused(tmp_path) == [
        (
            f'cannot read the services folder "{tmp_path}/services": No such file or directory\n'
            "  way out: name the directory that holds services/ and config/ with --root DIR"
        )
    ]


@pytest.mark.parametrize("path", ["api/service.yaml", "api/Procfile", "modes.yaml"])
def test_a_link_is_never_followed(root, path):
    file = write(root, path)
    file.rename(root / "secret")
    file.symlink_to(root / "secret")
    assert refused(root) == [refusal(f"services/{path}", "it is a link")]


def test_a_link_to_a_folder_is_no_service(root):
    write(root, "api/service.yaml")
    (root / "services" / "copy").symlink_to("api")
    (root / "services" / "gone").symlink_to("nowhere")
    assert refused(root) == [refusal(f"services/{name}", "it is a link") for name in ("copy", "gone")]


@pytest.fixture
def alarm():
    """What waits for ever fails after five seconds."""

    def ring(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(5)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_a_pipe_is_refused_without_waiting_for_its_writer(root, alarm):
    (root / "services" / "api").mkdir()
    os.mkfifo(root / "services" / "api" / "service.yaml")
    assert refused(root) == [refusal("services/api/service.yaml", "it is no regular file")]


def test_a_directory_in_the_place_of_a_file_is_refused(root):
    (root / "services" / "api" / "Procfile").mkdir(parents=True)
    assert refused(root) == [refusal("services/api/Procfile", "it is no regular file")]


def test_a_socket_in_the_place_of_a_file_is_refused(root, monkeypatch):
    (root / "services" / "api").mkdir()
    monkeypatch.chdir(root / "services" / "api")  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("service.yaml")
    assert refused(root) == [refusal("services/api/service.yaml", "No such device or address")]


def test_a_file_of_a_mebibyte_is_read_and_a_larger_one_refused(root):
    file = write(root, "api/service.yaml", "x" * LARGEST)
    assert len(read(root).files["services/api/service.yaml"]) == LARGEST
    file.write_text("x" * (LARGEST + 1))
    assert refused(root) == [refusal("services/api/service.yaml", "it is larger than 1 MiB")]


@pytest.mark.parametrize("name", ["Api", "my_api", "-api", "api.old", "a" * 64, "ä"])
def test_a_service_whose_folder_is_no_name_is_refused(root, name):
    write(root, f"{name}/service.yaml")
    shown = name if len(name) <= 60 else name[:59] + "…"
    assert refused(root) == [
        (
            f'cannot read service "{shown}": a service\'s folder is named with lower-case letters, digits and hyphens, '
            "63 at most, no hyphen first\n"
            "  way out: rename the folder"
        )
    ]


def test_all_that_cannot_be_read_is_told_at_once(root):
    write(root, "Bad/Procfile")
    write(root, "good/service.yaml")
    os.mkfifo(root / "services" / "modes.yaml")
    (root / "services" / "link").symlink_to("good")
    assert [problem.partition(": ")[0] for problem in refused(root)] == [
        'cannot read service "Bad"',
        'cannot read definition "services/link"',
        'cannot read definition "services/modes.yaml"',
    ]


def test_no_descriptor_is_left_open(root):
    write(root, "api/service.yaml")
    write(root, "Bad/service.yaml")
    before = os.listdir("/proc/self/fd")
    refused(root)
    assert os.listdir("/proc/self/fd") == before


def test_the_modes_are_read_whatever_is_wrong_with_the_services(root):
    box = Box(root=str(root), state=str(root / "state"))
    assert read_modes(box)["review"].runs == "everything"
    write(root, "modes.yaml", "demo: {runs: everything}\n")
    write(root, "api/service.yml")
    assert read_modes(box)["demo"].runs == "everything"
    write(root, "modes.yaml", "demo: {runs: nothing}\n")
    with pytest.raises(DefinitionError, match=r"services/modes\.yaml:1: demo/runs"):
        read_modes(box)


def test_modes_below_what_is_no_folder_are_refused(tmp_path):
    (tmp_path / "services").touch()
    with pytest.raises(DefinitionError) as caught:
        read_modes(Box(root=str(tmp_path), state=str(tmp_path)))
    assert str(caught.value) == (
        f'cannot read the services folder "{tmp_path}/services": Not a directory\n'
        "  way out: name the directory that holds services/ and config/ with --root DIR"
    )
