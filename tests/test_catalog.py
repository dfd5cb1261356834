import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.catalog import MODES_FILE, Sources, parse_catalog, parse_modes
from bootstrap.definition import (
    Alive,
    Check,
    Exec,
    Health,
    Http,
    Limits,
    Log,
    Logger,
    Mode,
    Process,
    Restart,
    Service,
    Source,
    Stop,
    Tcp,
)
from bootstrap.errors import DefinitionError
from bootstrap.reading import service_file

FILE = "services/api/service.yaml"
DB = "processes: {main: {command: postgres}}\n"
MINIMAL = "processes:\n  web:\n    command: ./serve\n"


def read(text, **others):
    """``text`` defines the service api, beside a service db and others."""
    files = {f"services/{name}/service.yaml": other for name, other in {"api": text, "db": DB, **others}.items()}
    return parse_catalog(Sources(root="/srv", files={file: text.encode() for file, text in files.items()}))


def refused(text, **others):
    with pytest.raises(DefinitionError) as caught:
        read(text, **others)
    return list(caught.value.problems)


def read_process(line):
    return read(f"{MINIMAL}    {line}\n").services["api"].processes["web"]


def test_every_key_of_a_definition_is_read():
    text = """\
description: Public HTTP API
needs: [db]                      # started after these are ready
backing: false
directory: app
source: {git: https://example.com/api.git}
runtime: {path: [.venv/bin, ../bin, /opt/tools]}
setup: ["./migrate", ./seed]
requires: [DATABASE_URL]
env: {LOG_LEVEL: info, DEBUG: no, NOTHING: , PIN: 0123}
secret: [SESSION_KEY]
health: {port: 9000}
processes:
  web:
    command: exec uvicorn api:app --port "$PORT"
    port: 8001
    instances: 2
    ready: {http: /healthz, timeout: 20s}
    check: {http: /healthz, every: 15s, failures: 4, hard: true, then: restart, timeout: 2s}
    stop: {signal: SIGQUIT, grace: 1m, script: ./quiesce}
    reload: HUP
    restart: {window: 2m, starts: 9}
    user: api
    limits: {nofile: 65536, memory: 512MiB, processes: 512}
"""
    assert read(text).services["api"] == Service(
        name="api",
        file="services/api/service.yaml",
        folder="/srv/services/api",
        description="Public HTTP API",
        needs=("db",),
        backing=False,
        directory="app",
        source=Source(kind="git", url="https://example.com/api.git"),
        path=(".venv/bin", "../bin", "/opt/tools"),
        setup=("./migrate", "./seed"),
        requires=("DATABASE_URL",),
        env={"LOG_LEVEL": "info", "DEBUG": "no", "NOTHING": "", "PIN": "0123"},
        secret=("SESSION_KEY",),
        health=Health(port=9000, address="127.0.0.1"),
        processes={
            "web": Process(
                name="web",
                command='exec uvicorn api:app --port "$PORT"',
                port=8001,
                instances=2,
                ready=Http(path="/healthz", timeout_s=20.0),
                check=Check(
                    probe=Http(path="/healthz", timeout_s=2.0), every_s=15.0, failures=4, hard=True, then="restart"
                ),
                stop=Stop(signal="QUIT", grace_s=60.0, script="./quiesce"),
                reload="HUP",
                restart=Restart(window_s=120.0, starts=9),
                user="api",
                limits=Limits(nofile=65536, memory=512 * 2**20, processes=512),
            )
        },
    )


def test_a_command_alone_is_a_definition():
    assert read(MINIMAL).services["api"] == Service(
        name="api",
        file="services/api/service.yaml",
        folder="/srv/services/api",
        processes={"web": Process(name="web", command="./serve", ready=Alive(after_s=1.0, timeout_s=30.0))},
    )


def test_services_come_by_name_and_processes_as_written():
    text = "processes: {web: {command: x}, admin: {command: y}}"
    services = read(text, zoo=DB, abc=DB).services
    assert list(services) == ["abc", "api", "db", "zoo"]
    assert list(services["api"].processes) == ["web", "admin"]


@pytest.mark.parametrize(
    ("line", "ready"),
    [
        ("ready: {http: /}\n    port: 80", Http(path="/")),
        ("ready: {http: '/a?b=%20c', timeout: 1h}\n    port: 80", Http(path="/a?b=%20c", timeout_s=3600.0)),
        ("ready: {tcp: true, timeout: 500ms}\n    port: 80", Tcp(timeout_s=0.5)),
        ("ready: {exec: pg_isready -q}", Exec(command="pg_isready -q")),
        ('ready: {log: "^ready [0-9]+$"}', Log(pattern="^ready [0-9]+$")),
        ("ready: {log: '[[a]'}", Log(pattern="[[a]")),
        ("ready: {alive: 0s}", Alive(after_s=0.0)),
        ("ready: {alive: 5s}", Alive(after_s=5.0, timeout_s=30.0)),
        ("ready: {alive: 1m}", Alive(after_s=60.0, timeout_s=120.0)),
        ("ready: {alive: 1m, timeout: 61s}", Alive(after_s=60.0, timeout_s=61.0)),
    ],
)
def test_every_way_to_be_ready_is_read(line, ready):
    assert read_process(line).ready == ready


@pytest.mark.parametrize(
    ("line", "logger"),
    [
        ("log: exec svlogd ./main", Logger(command="exec svlogd ./main")),
        ("log: {command: ./log}", Logger(command="./log")),
        (
            "log: {command: ./log, ready: {exec: ./ok}, start: by-hand}",
            Logger(command="./log", ready=Exec(command="./ok"), start="by-hand"),
        ),
    ],
)
def test_a_logger_is_a_line_of_sh_or_more(line, logger):
    assert read_process(line).log == logger


def test_scripts_of_control_are_by_letter():
    assert read_process("control: {h: ./control/h, 1: ./one}").control == {"h": "./control/h", "1": "./one"}


@pytest.mark.parametrize(
    ("line", "check"),
    [
        ("check: {exec: ./ok}", Check(probe=Exec(command="./ok", timeout_s=5.0))),
        ("check: {exec: ./ok, every: 2s}", Check(probe=Exec(command="./ok", timeout_s=2.0), every_s=2.0)),
        ("check: {tcp: true}\n    port: 1", Check(probe=Tcp(timeout_s=5.0))),
        ("check: {exec: ./ok, then: nothing}", Check(probe=Exec(command="./ok", timeout_s=5.0), then="nothing")),
    ],
)
def test_a_try_of_a_check_takes_five_seconds_or_what_is_between_two_of_them(line, check):
    assert read_process(line).check == check


@pytest.mark.parametrize(
    ("size", "size_in_bytes"),
    [
        ("1048576B", 2**20),
        ("1024KiB", 2**20),
        ("64MiB", 64 * 2**20),
        ("1GiB", 2**30),
        ("2TiB", 2**41),
        ("2000KB", 2 * 10**6),
        ("500MB", 500 * 10**6),
        ("1GB", 10**9),
        ("1TB", 10**12),
    ],
)
def test_sizes_are_binary_or_decimal_as_written(size, size_in_bytes):
    assert read_process(f"limits: {{memory: {size}}}").limits.memory == size_in_bytes


@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "KILL", "WINCH", "CONT"])
def test_signals_are_read_with_and_without_sig(name):
    assert read_process(f"stop: {{signal: {name}}}").stop.signal == name
    assert read_process(f"reload: SIG{name}").reload == name


@pytest.mark.parametrize("user", ["api", "_apt", "www-data", "0", "1000", "4294967294"])
def test_users_are_names_or_numbers(user):
    assert read_process(f"user: {user}").user == user


@pytest.mark.parametrize(
    ("line", "directory"),
    [("directory: .", "."), ("directory: ./app/", "app"), ("directory: a/../b", "b"), ("directory: ..a", "..a")],
)
def test_a_directory_is_written_the_short_way(line, directory):
    assert read(f"{line}\n{MINIMAL}").services["api"].directory == directory


@pytest.mark.parametrize(
    "url",
    [
        "https://user:token@example.com/a.git",
        "ssh://git@example.com/a",
        "git@example.com:team/a.git",
        "file:///srv/a",
        "/srv/git/a.git",
    ],
)
def test_a_git_source_is_any_address_that_git_clones_without_a_helper(url):
    assert read(f"source: {{git: '{url}'}}\n{MINIMAL}").services["api"].source == Source(kind="git", url=url)


def test_an_s3_source_is_a_bucket_and_a_path():
    service = read(f"source: {{s3: s3://my-bucket/api/}}\n{MINIMAL}").services["api"]
    assert service.source == Source(kind="s3", url="s3://my-bucket/api/")


def test_an_address_is_written_the_short_way():
    health = read(f"health: {{port: 1, address: '0:0::1'}}\n{MINIMAL}").services["api"].health
    assert health == Health(port=1, address="::1")


def test_quotes_do_not_turn_a_number_into_something_else():
    assert read_process('port: "80"').port == 80


SERVICE_KEYS = (
    "valid keys are backing, description, directory, env, health, needs, processes, requires, runtime, secret, setup, "
    "source, target-groups"
)
VARIABLE = "is no name for a variable; use letters, digits and _, no digit first"
NAME = "is no name; use lower-case letters, digits and hyphens, 63 at most, no hyphen first"
DURATION = "should be a duration such as 30s, 500ms, 2m or 1h"
SIGNALS = "ABRT, ALRM, CONT, HUP, INT, KILL, PIPE, QUIT, TERM, TTIN, TTOU, URG, USR1, USR2, WINCH"
ANCHOR = "anchors and aliases are not allowed; write the value out"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("description: [a]", "description: should be text, not a list"),
        ("description: {a: b}", "description: should be text, not a mapping"),
        ('description: "a\\0b"', "description: should hold no NUL character"),
        ("needs: db", 'needs: should be a list, not "db"'),
        ("needs:", "needs: should be a list, not nothing"),
        ("needs: [[db]]", "needs/0: should be text, not a list"),
        ("needs: [db, db]", "needs/1: stands twice"),
        ("needs: [db, dbb]", 'needs/1: no service is called "dbb"; did you mean "db"?'),
        ("needs: [queue]", 'needs/0: no service is called "queue"; services are api, db'),
        ("needs: [api]", "needs: cycle api → api; none of them could start first"),
        ("backing: yes", 'backing: should be true or false, not "yes"'),
        ("backing: True", 'backing: should be true or false, not "True"'),
        ("directory: /srv", 'directory: should be a path relative to the service\'s folder, not "/srv"'),
        ('directory: ""', "directory: should be a path relative to the service's folder, not nothing"),
        ("directory: ../db", 'directory: should stay inside the service\'s folder, not "../db"'),
        ("directory: a/../..", 'directory: should stay inside the service\'s folder, not "a/../.."'),
        ('directory: "a\\0"', "directory: should hold no NUL character"),
        ("source: https://example.com/a.git", 'source: should be a mapping, not "https://example.com/a.git"'),
        ("source: {}", "source: should hold exactly one of git, s3"),
        ("source: {git: /a, s3: s3://abc/d}", "source: should hold exactly one of git, s3"),
        ("source: {hg: /a}", "source/hg: unknown key; valid keys are git, s3"),
        (
            "source: {git: --upload-pack=id}",
            "source/git: should be a git address such as https://host/path.git or git@host:path.git",
        ),
        (
            "source: {git: 'ext::sh -c id'}",
            "source/git: should be a git address such as https://host/path.git or git@host:path.git",
        ),
        ("source: {s3: bucket/a}", 'source/s3: should be an address such as s3://bucket/path/, not "bucket/a"'),
        ("runtime: [bin]", "runtime: should be a mapping, not a list"),
        ("runtime: {paths: [bin]}", 'runtime/paths: unknown key; did you mean "path"?'),
        ("runtime: {path: bin}", 'runtime/path: should be a list, not "bin"'),
        ("runtime: {path: ['a:b']}", 'runtime/path/0: should be a directory without colons, not "a:b"'),
        ("runtime: {path: [bin, '']}", "runtime/path/1: should be a directory without colons, not nothing"),
        ("setup: ./migrate", 'setup: should be a list, not "./migrate"'),
        ("setup: [' ']", "setup/0: should be a line of sh, not nothing"),
        ('setup: ["a\\0"]', "setup/0: should hold no NUL character"),
        ("requires: [A-B]", f'requires/0: "A-B" {VARIABLE}'),
        ("requires: [A, B, A]", "requires/2: stands twice"),
        ("requires: A", 'requires: should be a list, not "A"'),
        ("env: [A]", "env: should be a mapping, not a list"),
        ("env: {1A: x}", f'env/1A: "1A" {VARIABLE}'),
        ("env: {'A=B': x}", f'env/"A=B": "A=B" {VARIABLE}'),
        ('env: {A: "x\\0y"}', "env/A: should hold no NUL character"),
        ("env: {A: [hush]}", "env/A: should be text, not a list"),
        ("env: {A: x, A: y}", "env/A: stands twice, first in line 1"),
        ("env: {[a]: x}", "env: a key should be text"),
        ("env: &a {A: b}", f"env: {ANCHOR}"),
        ("env: {<<: {A: b}}", f'env/"<<": "<<" {VARIABLE}'),
        ("env: {A: !!str 3}", "env/A: tags are not allowed; write the value without it"),
        ("secret: ['']", f'secret/0: "" {VARIABLE}'),
        ("secret: {A: b}", "secret: should be a list, not a mapping"),
        ("health: 9000", 'health: should be a mapping, not "9000"'),
        ("health: {}", "health/port: is missing and must be given"),
        ("health: {prt: 9000}", 'health/prt: unknown key; did you mean "port"?'),
        ("health: {port: 0}", 'health/port: should be an integer from 1 to 65535, not "0"'),
        ("health: {port: 1, address: localhost}", 'health/address: should be an IP address, not "localhost"'),
        ("porcesses: {}", 'porcesses: unknown key; did you mean "processes"?'),
        ("Backing: true", 'Backing: unknown key; did you mean "backing"?'),
        ("zzz: 1", f"zzz: unknown key; {SERVICE_KEYS}"),
        ('"a\\n: b": 1', f'"a\\n: b": unknown key; {SERVICE_KEYS}'),
        (f"{'z' * 1000}: 1", f'"{"z" * 59}…": unknown key; {SERVICE_KEYS}'),
        ("[a]: 1", "a key should be text"),
        ("description: &a b", f"description: {ANCHOR}"),
        ("? &a description\n: b", "a key should be text"),
    ],
)
def test_each_way_to_get_a_service_wrong_is_told_by_line_and_path(line, problem):
    assert refused(f"{line}\n{MINIMAL}") == [f"{FILE}:1: {problem}"]


PORT = "should be an integer from 1 to 65535"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("comand: x", 'comand: unknown key; did you mean "command"?'),
        ("port: http", f'port: {PORT}, not "http"'),
        ("port: 0", f'port: {PORT}, not "0"'),
        ("port: 65536", f'port: {PORT}, not "65536"'),
        ("port: 080", f'port: {PORT}, not "080"'),
        ("port: +80", f'port: {PORT}, not "+80"'),
        ("port: 8_0", f'port: {PORT}, not "8_0"'),
        ("port: ٨٠", f'port: {PORT}, not "٨٠"'),
        ("port: 80.0", f'port: {PORT}, not "80.0"'),
        ("port: 0x50", f'port: {PORT}, not "0x50"'),
        ("port: [80]", f"port: {PORT}, not a list"),
        ("port:", f"port: {PORT}, not nothing"),
        (f"port: {'9' * 5000}", f'port: {PORT}, not "{"9" * 59}…"'),
        ("instances: 0", 'instances: should be an integer from 1 to 100, not "0"'),
        ("instances: 101", 'instances: should be an integer from 1 to 100, not "101"'),
        ("ready: alive", 'ready: should be a mapping, not "alive"'),
        ("ready: {}", "ready: should hold exactly one of http, tcp, exec, log, alive"),
        ("ready: {timeout: 3s}", "ready: should hold exactly one of http, tcp, exec, log, alive"),
        ("ready: {exec: a, log: b}", "ready: should hold exactly one of http, tcp, exec, log, alive"),
        ("ready: {htp: /}", 'ready/htp: unknown key; did you mean "http"?'),
        ("ready: {http: /}", "ready/http: needs a port; give the process one"),
        ("ready: {tcp: true}", "ready/tcp: needs a port; give the process one"),
        ("ready: {exec: ''}", "ready/exec: should be a line of sh, not nothing"),
        (
            "ready: {log: '('}",
            "ready/log: is no regular expression: missing ), unterminated subpattern at position 0",
        ),
        ("ready: {log: ''}", "ready/log: should be a regular expression, not nothing"),
        ("ready: {alive: 5}", f'ready/alive: {DURATION}, not "5"'),
        ("ready: {alive: 1.5s}", f'ready/alive: {DURATION}, not "1.5s"'),
        ("ready: {alive: 5 s}", f'ready/alive: {DURATION}, not "5 s"'),
        ("ready: {alive: -5s}", f'ready/alive: {DURATION}, not "-5s"'),
        ("ready: {alive: 1s, timeout: 0s}", 'ready/timeout: should be more than 0s, not "0s"'),
        ("ready: {alive: 1s, timeout: 25h}", 'ready/timeout: should be 24h at most, not "25h"'),
        ("ready: {alive: 9s, timeout: 9s}", "ready/timeout: should be longer than what alive asks for"),
        ("check: {every: 3s}", "check: should hold exactly one of http, tcp, exec"),
        ("check: {tcp: true}", "check/tcp: needs a port; give the process one"),
        ("check: {http: /}", "check/http: needs a port; give the process one"),
        (
            "check: {exec: a, log: b}",
            "check/log: unknown key; valid keys are every, exec, failures, hard, http, tcp, then, timeout",
        ),
        ("check: {exec: a, every: 0s}", 'check/every: should be more than 0s, not "0s"'),
        ("check: {exec: a, failures: 0}", 'check/failures: should be an integer from 1 to 1000, not "0"'),
        ("check: {exec: a, hard: 1}", 'check/hard: should be true or false, not "1"'),
        ("check: {exec: a, then: reboot}", 'check/then: should be "restart" or "nothing", not "reboot"'),
        ("check: {exec: a, timeout: soon}", f'check/timeout: {DURATION}, not "soon"'),
        ("stop: TERM", 'stop: should be a mapping, not "TERM"'),
        ("stop: {signal: TREM}", 'stop/signal: no signal is called "TREM"; did you mean "TERM"?'),
        ("stop: {signal: term}", 'stop/signal: no signal is called "term"; did you mean "TERM"?'),
        (
            "stop: {signal: 15}",
            f'stop/signal: no signal is called "15"; signals are {SIGNALS}',
        ),
        ("stop: {grace: 10}", f'stop/grace: {DURATION}, not "10"'),
        ("stop: {script: /bin/x}", 'stop/script: should be a path relative to the working directory, not "/bin/x"'),
        ("stop: {script: ''}", "stop/script: should be a path relative to the working directory, not nothing"),
        ("stop: {script: ../x}", 'stop/script: should stay inside the service\'s folder, not "../x"'),
        ("stop: {scirpt: x}", 'stop/scirpt: unknown key; did you mean "script"?'),
        ("reload: HUPP", 'reload: no signal is called "HUPP"; did you mean "HUP"?'),
        ("reload: [HUP]", "reload: should be the name of a signal, not a list"),
        ("restart: {window: 0s}", 'restart/window: should be more than 0s, not "0s"'),
        ("restart: {starts: 0}", 'restart/starts: should be an integer from 1 to 1000, not "0"'),
        ("restart: {max: 3}", "restart/max: unknown key; valid keys are starts, window"),
        ("user: Api", 'user: should be the name or number of a user, not "Api"'),
        ("user: 'api\n\n      '", 'user: should be the name or number of a user, not "api\\n"'),
        ("user: 4294967295", 'user: should be the name or number of a user, not "4294967295"'),
        ("limits: 3", 'limits: should be a mapping, not "3"'),
        ("limits: {nfile: 3}", 'limits/nfile: unknown key; did you mean "nofile"?'),
        ("limits: {nofile: 0}", 'limits/nofile: should be an integer from 1 to 1073741824, not "0"'),
        ("limits: {memory: 512}", 'limits/memory: should be a size such as 512MiB, 1GiB or 500MB, not "512"'),
        ("limits: {memory: 1KiB}", 'limits/memory: should be from 1MiB to 1048576TiB, not "1KiB"'),
        ("limits: {memory: 1048577TiB}", 'limits/memory: should be from 1MiB to 1048576TiB, not "1048577TiB"'),
        ("limits: {processes: many}", 'limits/processes: should be an integer from 1 to 4194304, not "many"'),
    ],
)
def test_each_way_to_get_a_process_wrong_is_told_by_line_and_path(line, problem):
    assert refused(f"{MINIMAL}    {line}\n") == [f"{FILE}:4: processes/web/{problem}"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("ready: {http: healthz}", 'ready/http: should be a path such as /healthz, not "healthz"'),
        (
            'ready: {http: "/ HTTP/1.1\\r\\nX: y"}',
            'ready/http: should be a path such as /healthz, not "/ HTTP/1.1\\r\\nX: y"',
        ),
        ("ready: {tcp: false}", 'ready/tcp: should be true, not "false"'),
        ("ready: {tcp: true, http: /}", "ready: should hold exactly one of http, tcp, exec, log, alive"),
        ("control: {t: ./x}", "control/t: should be one of 1, 2, a, c, d, h, i, k, p, q, x"),
        ("control: {h: /bin/x}", 'control/h: should be a path relative to the working directory, not "/bin/x"'),
        ("control: {h: ../../x}", 'control/h: should stay inside the service\'s folder, not "../../x"'),
        ("log: {ready: {exec: x}}", "log/command: is missing and must be given"),
        ("log: {command: x, start: now}", 'log/start: should be "always" or "by-hand", not "now"'),
        ("log: []", "log: should be a mapping, not a list"),
        ("instances: 2", "port: leaves no port for instance 2; the last port is 65535"),
    ],
)
def test_each_way_to_get_a_process_with_a_port_wrong_is_told_too(line, problem):
    assert refused(f"{MINIMAL}    {line}\n    port: 65535\n")[0].partition(": ")[2] == f"processes/web/{problem}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1: should be a mapping, not nothing"),
        ("- web", "1: should be a mapping, not a list"),
        ("web", '1: should be a mapping, not "web"'),
        ("\n&a {}", f"2: {ANCHOR}"),
        ("backing: true", "1: processes: is missing and must be given"),
        ("processes:", "1: processes: should be a mapping, not nothing"),
        ("processes: {}", "1: processes: should name at least one process"),
        ("processes: [web]", "1: processes: should be a mapping, not a list"),
        ("processes:\n  web:", "2: processes/web: should be a mapping, not nothing"),
        ("processes:\n  web: ./serve", '2: processes/web: should be a mapping, not "./serve"'),
        ("processes:\n  web: {port: 80}", "2: processes/web/command: is missing and must be given"),
        ("processes:\n  web: {command: ''}", "2: processes/web/command: should be a line of sh, not nothing"),
        ("processes:\n  web: {command: [a]}", "2: processes/web/command: should be a line of sh, not a list"),
        ('processes:\n  web: {command: "a\\0"}', "2: processes/web/command: should hold no NUL character"),
        ("processes:\n  Web: {command: a}", f'2: processes/Web: "Web" {NAME}'),
        ("processes:\n  '': {command: a}", f'2: processes/"": "" {NAME}'),
        ("processes:\n  ../x: {command: a}", f'2: processes/"../x": "../x" {NAME}'),
        ("processes:\n  a: {command: x}\n  a: {command: y}", "3: processes/a: stands twice, first in line 2"),
        ("processes: {a: {command: x}}\n---\n", "2: a second document starts here; one file holds one"),
        ("processes: {a: {command: x}", "2: cannot be read as YAML: did not find expected ',' or '}'"),
        ("[" * 100_000, "1: is nested deeper than 20 levels"),
        ("a: b\nc: \0", "2: holds a NUL character"),
        (
            f"{MINIMAL}setup: [{','.join(map(str, range(1001)))}]",
            "4: setup: should hold 1000 entries at most, not 1001",
        ),
        ("".join(f"k{n}: 1\n" for n in range(1001)), "1: should hold 1000 entries at most, not 1001"),
    ],
)
def test_a_file_that_is_no_definition_is_told_by_line(text, problem):
    assert refused(text) == [f"{FILE}:{problem}"]


def test_a_file_in_another_encoding_is_refused_with_its_line():
    with pytest.raises(DefinitionError) as caught:
        parse_catalog(Sources(root="/srv", files={FILE: b"a: b\nc: \xe9\n"}))
    assert caught.value.problems == (f"{FILE}:2: is not valid UTF-8",)


def test_paths_may_climb_out_of_the_working_directory_but_not_of_the_folder():
    text = """\
directory: app
runtime: {path: [../bin, ../../bin]}
processes:
  web: {command: x, stop: {script: ../quiesce}}
  job: {command: x, stop: {script: ../../quiesce}}
"""
    assert refused(text) == [
        f'{FILE}:5: processes/job/stop/script: should stay inside the service\'s folder, not "../../quiesce"',
    ]


def test_a_wrong_directory_is_not_held_against_the_paths_below_it():
    assert refused(f"directory: ../x\nruntime: {{path: [bin]}}\n{MINIMAL}") == [
        f'{FILE}:1: directory: should stay inside the service\'s folder, not "../x"'
    ]


def test_all_problems_of_all_files_are_told_at_once():
    api = """\
needs: [dbb]
directory: ../x
porcesses: {}
processes:
  web:
    comand: ./serve
    port: http
    ready: {http: /, tcp: true}
  Job:
    command: x
"""
    db = "processes: {main: {command: x, port: 99999}}"
    catalog = {
        FILE: api.encode(),
        "services/db/service.yaml": db.encode(),
        "services/old/Procfile": b"serve\n",
        "services/worse/service.yaml": b"a: [\n",
        "services/modes.yaml": b"demo: {runs: some}\n",
    }
    with pytest.raises(DefinitionError) as caught:
        parse_catalog(Sources(root="/srv", files=catalog))
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert caught.value.problems == (
        'services/modes.yaml:1: demo/runs: should be "everything" or "one", not "some"',
        f'{FILE}:1: needs/0: no service is called "dbb"; did you mean "db"?',
        f'{FILE}:2: directory: should stay inside the service\'s folder, not "../x"',
        f'{FILE}:3: porcesses: unknown key; did you mean "processes"?',
        f'{FILE}:6: processes/web/comand: unknown key; did you mean "command"?',
        f'{FILE}:7: processes/web/port: {PORT}, not "http"',
        f"{FILE}:8: processes/web/ready: should hold exactly one of http, tcp, exec, log, alive",
        f'{FILE}:9: processes/Job: "Job" {NAME}',
        f'services/db/service.yaml:1: processes/main/port: {PORT}, not "99999"',
        'services/old/Procfile:1: should be "name: command", not "serve"',
        "services/worse/service.yaml:2: cannot be read as YAML: did not find expected node content",
    )


def needing(*names):
    return f"description: x\nneeds: [{', '.join(names)}]\n{DB}"


def test_a_cycle_is_written_out_once_where_its_first_service_needs():
    assert refused(MINIMAL, a=needing("c"), b=needing("a"), c=needing("db", "b"), behind=needing("a")) == [
        "services/a/service.yaml:2: needs: cycle a → c → b → a; none of them could start first"
    ]


def test_every_separate_cycle_is_told():
    assert refused(needing("b"), b=needing("api"), c=needing("c"), d=needing("db")) == [
        f"{FILE}:2: needs: cycle api → b → api; none of them could start first",
        "services/c/service.yaml:2: needs: cycle c → c; none of them could start first",
    ]


def test_a_cycle_is_told_along_with_other_problems_of_the_same_file():
    assert refused("needs: [db]\n", db=needing("api")) == [
        f"{FILE}:1: processes: is missing and must be given",
        f"{FILE}:1: needs: cycle api → db → api; none of them could start first",
    ]


def test_many_services_that_need_one_another_in_a_row_are_no_problem_of_depth():
    others = {f"s{number}": needing(f"s{number - 1}") for number in range(1, 2000)}
    assert len(read(MINIMAL, s0=DB, **others).services) == 2002


def test_two_services_may_not_come_to_one_program_name():
    text = "processes:\n  db-main: {command: x}\n"
    (problem,) = refused(text, **{"api-db": DB})
    assert problem == (
        'services/api-db/service.yaml:1: processes/main: program "api-db-main" is also process "db-main" of service '
        f'"api" ({FILE}); rename one of them'
    )


def test_an_instance_may_not_be_called_like_another_process():
    text = "processes:\n  web: {command: x, instances: 2}\n  web-2: {command: x}\n"
    (problem,) = refused(text)
    assert problem == (
        f'{FILE}:3: processes/web-2: program "api-web-2" is also process "web" of service "api" ({FILE}); '
        "rename one of them"
    )


def read_modes(text):
    return parse_catalog(Sources(root="/srv", files={"services/modes.yaml": text.encode()})).modes


def test_four_modes_are_built_in():
    modes = parse_catalog(Sources(root="/srv", files={})).modes
    assert {name: mode.runs for name, mode in modes.items()} == {
        "development": "everything",
        "review": "everything",
        "staging": "one",
        "production": "one",
    }


def test_a_file_adds_modes_and_redefines_built_in_ones():
    modes = read_modes("demo: {runs: one, description: For shows}\nstaging: {runs: everything}\n")
    assert modes["demo"] == Mode(name="demo", runs="one", description="For shows")
    assert modes["staging"] == Mode(name="staging", runs="everything")
    assert modes["production"].runs == "one"


def test_a_modes_file_of_comments_changes_nothing():
    assert read_modes("# demo: {runs: one}\n") == read_modes("{}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- demo", "1: should be a mapping, not a list"),
        ("demo: one", '1: demo: should be a mapping, not "one"'),
        ("demo: {}", "1: demo/runs: is missing and must be given"),
        ("demo: {run: one}", '1: demo/run: unknown key; did you mean "runs"?'),
        ("demo: {runs: all}", '1: demo/runs: should be "everything" or "one", not "all"'),
        ("demo: {runs: one, description: [a]}", "1: demo/description: should be text, not a list"),
        ("Demo: {runs: one}", f'1: Demo: "Demo" {NAME}'),
        ("demo: {runs: one}\ndemo: {runs: one}", "2: demo: stands twice, first in line 1"),
        ("demo: *one", f"1: demo: {ANCHOR}"),
    ],
)
def test_each_way_to_get_a_mode_wrong_is_told_by_line_and_path(text, problem):
    with pytest.raises(DefinitionError) as caught:
        read_modes(text)
    assert caught.value.problems == (f"services/modes.yaml:{problem}",)


def survives(files):
    """A catalog or a refusal; what is told about a hostile file must be harmless to print."""
    try:
        parse_catalog(Sources(root="/srv", files=files))
    except DefinitionError as refusal:
        problems = refusal.problems
    else:
        return
    assert problems
    assert all(problem.isprintable() for problem in problems)


FILES = st.sampled_from([FILE, "services/old/Procfile", "services/modes.yaml"])
YAML_WORDS = (
    *"[]{},:&*!-?|>'\"#%\n\t ",
    "\n  ",
    "\n    ",
    ": ",
    "- ",
    "&a",
    "*a",
    "!t",
    "---",
    "...",
    "\\0",
    "\\ud800",
    "<<",
)
OUR_WORDS = (
    "processes",
    "web",
    "command",
    "port",
    "ready",
    "check",
    "stop",
    "env",
    "needs",
    "api",
    "http",
    "log",
    "80",
)
WORDS = st.sampled_from(YAML_WORDS) | st.sampled_from(OUR_WORDS) | st.sampled_from(["release:", "(?P<a", "٣"])


@settings(max_examples=150, deadline=None)
@given(FILES, st.binary(max_size=200))
def test_no_bytes_are_anything_but_a_catalog_or_refused(file, content):
    survives({file: content})


@settings(max_examples=300, deadline=None)
@given(FILES, st.lists(WORDS, max_size=40).map("".join))
def test_no_text_that_looks_like_yaml_is_anything_but_a_catalog_or_refused(file, text):
    survives({file: text.encode()})


OPENINGS = (
    "description: ",
    "needs: [",
    "directory: ",
    "source: {git: ",
    "source: {s3: ",
    "runtime: {path: [",
    "setup: [",
    "requires: [",
    "env: {A: ",
    "env: {",
    "health: {port: 1, address: ",
    "processes: {web: {command: x, ready: {log: ",
    "processes: {web: {command: x, port: 1, ready: {http: ",
    "processes: {web: {command: x, stop: {grace: ",
    "processes: {web: {command: x, limits: {memory: ",
    "processes: {web: {command: ",
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(OPENINGS), st.text(max_size=30) | st.text("([{*+?|\\\\^$:<=!P)}]#-0123456789msh", max_size=15))
def test_no_value_of_a_key_is_anything_but_read_or_refused(opening, value):
    escaped = json.dumps(value)
    closing = "".join({"[": "]", "{": "}"}[char] for char in reversed(opening) if char in "[{")
    survives({FILE: f"{opening}{escaped}{closing}\n".encode()})


def test_the_documentation_has_every_key_and_what_holds_without_it():
    text = (Path(__file__).parents[1] / "docs/definition.md").read_text()
    for keys in (service_file._SERVICE, service_file._PROCESS):
        assert set(keys) <= {
            key for row in re.findall(r"^\| (`.+?) \|", text, re.MULTILINE) for key in re.findall(r"`(.+?)`", row)
        }
    for keys in (
        service_file._CHECK,
        service_file._READY,
        service_file._STOP,
        service_file._RESTART,
        service_file._LIMITS,
    ):
        assert all(re.search(rf"[`{{ ]{key}[`:]", text) for key in keys)
    process = read(MINIMAL).services["api"].processes["web"]
    assert process.ready == Alive(after_s=1.0, timeout_s=30.0)
    assert (process.stop, process.restart) == (Stop(signal="TERM", grace_s=10.0), Restart(window_s=60.0, starts=5))
    for said in ("`{alive: 1s}`", "`timeout: 30s`", "`{signal: TERM, grace: 10s}`", "`{window: 60s, starts: 5}`"):
        assert said in text


def test_the_modes_of_the_documentation_are_read():
    text = (Path(__file__).parents[1] / "docs/definition.md").read_text()
    (example,) = re.findall(r"## `services/modes.yaml`.*?```yaml\n(.*?)```", text, re.DOTALL)
    modes = parse_modes(Sources(root="/root", files={MODES_FILE: example.encode()}))
    assert (modes["qa"].runs, modes["qa"].description) == ("one", "One service, with test data")


def test_words_behind_a_comma_are_told_apart_from_a_misspelt_key():
    text = "description: x\nruntime: {path: [a], with test data, more: 1}\n"
    assert refused(text + MINIMAL) == [
        f'{FILE}:2: runtime/"with test data": unknown key; valid keys are path (inside {{ }} a comma ends a text, unless it stands in quotes)',
        f"{FILE}:2: runtime/more: unknown key; valid keys are path",
    ]
