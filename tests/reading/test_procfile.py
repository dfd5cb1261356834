import pytest

from bootstrap.catalog import Sources, parse_catalog
from bootstrap.definition import Alive, Process
from bootstrap.errors import DefinitionError


def read(text, **others):
    files = {f"services/{name}/Procfile": other for name, other in others.items()}
    return parse_catalog(Sources(root="/srv", files={"services/old/Procfile": text, **files})).services


def refused(text):
    with pytest.raises(DefinitionError) as caught:
        read(text)
    return list(caught.value.problems)


def test_each_line_is_a_process_and_only_web_gets_a_port():
    service = read(b"# runs the shop\n\nweb: bin/serve -p $PORT\nworker:bin/work\n")["old"]
    assert (service.file, service.folder) == ("services/old/Procfile", "/srv/services/old")
    assert service.processes == {
        "web": Process(name="web", command="bin/serve -p $PORT", port=5000, ready=Alive(after_s=1.0)),
        "worker": Process(name="worker", command="bin/work"),
    }


def test_a_command_keeps_its_colons_and_hashes():
    assert read(b"web: A=b:c serve '#1'\n")["old"].processes["web"].command == "A=b:c serve '#1'"


def test_windows_line_ends_are_line_ends():
    processes = read(b"web: a\r\nworker: b\r\n")["old"].processes
    assert [process.command for process in processes.values()] == ["a", "b"]


def test_what_heroku_runs_at_release_becomes_setup():
    service = read(b"release: ./migrate\nweb: ./serve\n")["old"]
    assert service.setup == ("./migrate",)
    assert list(service.processes) == ["web"]


def test_services_with_a_procfile_get_ports_a_hundred_apart_by_name():
    services = read(b"web: x", zoo=b"web: x", abc=b"web: x")
    assert {name: service.processes["web"].port for name, service in services.items()} == {
        "abc": 5000,
        "old": 5100,
        "zoo": 5200,
    }


def test_a_service_yaml_takes_no_port_of_the_procfiles():
    files = {
        "services/a/service.yaml": b"processes: {web: {command: x}}",
        "services/b/Procfile": b"web: x",
    }
    services = parse_catalog(Sources(root="/srv", files=files)).services
    assert [service.processes["web"].port for service in services.values()] == [None, 5000]


FILE = "services/old/Procfile"
GRAMMAR = "use lower-case letters, digits and hyphens, 63 at most, no hyphen first"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (b"", [f"{FILE}:1: should name at least one process"]),
        (b"# nothing\n", [f"{FILE}:1: should name at least one process"]),
        (b"release: ./migrate\n", [f"{FILE}:1: should name at least one process"]),
        (b"web: a\nserve it\n", [f'{FILE}:2: should be "name: command", not "serve it"']),
        (b"serve\n", [f'{FILE}:1: should be "name: command", not "serve"']),
        (b"\x1b[31mweb\n", [f'{FILE}:1: should be "name: command", not "\\x1b[31mweb"']),
        (b"web: a\nworker: b\nweb: c\n", [f"{FILE}:3: web: stands twice, first in line 1"]),
        (b"web: a\nrelease: b\nrelease: c\n", [f"{FILE}:3: release: stands twice, first in line 2"]),
        (b"web:\n", [f"{FILE}:1: web: should be a line of sh, not nothing"]),
        (b"web: a\nrelease:\n", [f"{FILE}:2: release: should be a line of sh, not nothing"]),
        (b"web: a\nmy_job: b\n", [f'{FILE}:2: my_job: "my_job" is no name; {GRAMMAR}']),
        (b"Web: a\n", [f'{FILE}:1: Web: "Web" is no name; {GRAMMAR}']),
        (b"a\n" * 1001, [f"{FILE}:1: should hold 1000 entries at most, not 1001"]),
        (b"web: a\nb: \xff\n", [f"{FILE}:2: is not valid UTF-8"]),
        (b"web: a\nb: \0\n", [f"{FILE}:2: holds a NUL character"]),
        (
            b"serve\nweb:\nB: c\n",
            [
                f'{FILE}:1: should be "name: command", not "serve"',
                f"{FILE}:2: web: should be a line of sh, not nothing",
                f'{FILE}:3: B: "B" is no name; {GRAMMAR}',
            ],
        ),
    ],
)
def test_every_bad_line_is_named(text, problems):
    assert refused(text) == problems
