import re
from dataclasses import replace

import pytest

from bootstrap.box import Box
from bootstrap.definition import Check, Http, Process, Service, Tcp
from bootstrap.environ import Layering, layer_environments, layer_names, needed_references
from bootstrap.errors import DefinitionError, MissingVariable
from bootstrap.identity import Identity
from bootstrap.plan import Plan, Program
from bootstrap.rules import parse_rules
from bootstrap.variable import (
    LONGEST,
    Account,
    Layer,
    Reference,
    Setting,
    is_reserved,
    is_too_long,
    parse_value,
)

BOX = Box(root="/srv", state="/state")
ORDER = ("common", "modes/{mode}", "services/{service}/common", "services/{service}/{mode}")
ANN = Account(name="ann", uid=1000, gid=1000, home="/home/ann")
STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SSM = Reference(kind="ssm", text="/todo/token")


def service(name, *processes, **fields):
    processes = processes or (Process(name="web", command="serve"),)
    by_name = {process.name: process for process in processes}
    return Service(
        name=name, file=f"services/{name}/service.yaml", folder=f"/srv/services/{name}", processes=by_name, **fields
    )


def instances(one, process, count):
    for index in range(count):
        yield Program(
            name=f"{one.name}-{process.name}" + (f"-{index + 1}" if count > 1 else ""),
            service=one,
            process=process,
            instance=index + 1,
            port=None if process.port is None else process.port + index,
            wave=0,
        )


def plan(*services, mode="review", scale=None):
    programs = [
        program
        for one in services
        for process in one.processes.values()
        for program in instances(one, process, (scale or {}).get(process.name, 1))
    ]
    return Plan(identity=Identity(mode=mode, scale={}, refs={}, tags=()), programs=tuple(programs))


def layering(wanted, order=ORDER, shadowed=None, **directories):
    """Directories are named with `__` for `/`; values are text, `None` or a Reference."""
    said = {name.replace("__", "/"): settings for name, settings in directories.items()}
    names = [name for program in wanted.programs for name in layer_names(program, wanted.identity.mode, order)]
    assert said.keys() <= set(names), "a layer that nobody reads"
    return Layering(
        order=order,
        layers={
            name: Layer(
                name=f"config/{name}",
                settings={
                    key: Setting(value=value, file=f"config/{name}/{key}") for key, value in said.get(name, {}).items()
                },
                shadowed={
                    key: Setting(value=value, file=f"config/{name}/.env")
                    for key, value in (shadowed or {}).get(name, {}).items()
                },
            )
            for name in names
        },
    )


def layered(wanted, secrets=None, *, incomplete=False, **directories):
    accounts = {program.name: ANN for program in wanted.programs}
    layers = layering(wanted, **directories)
    return layer_environments(wanted, layers, accounts, secrets or {}, BOX, incomplete=incomplete)


def values(environment):
    return {key: variable.value for key, variable in environment.variables.items()}


def one(wanted, **directories):
    (environment,) = layered(wanted, **directories).values()
    return environment


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"", None),
        (b"\n", ""),
        (b"value", "value"),
        (b"value\n", "value"),
        (b"value\nmore\n", "value"),
        (b"value \t \n", "value"),
        (b" \t", ""),
        (b"  value", "  value"),
        (b"value\r\n", "value\r"),
        (b"one\0two", "one\ntwo"),
        (b"one\0 \t", "one\n"),
        (b"\0", "\n"),
        ("zwölf".encode(), "zwölf"),
        (b"\xff\xfe", "\udcff\udcfe"),
    ],
)
def test_a_value_is_read_as_chpst_reads_it(raw, value):
    assert parse_value(raw) == value


@pytest.mark.parametrize("key", ["PORT", "BOOTSTRAP_", "BOOTSTRAP_MODE", "BOOTSTRAP_MARK"])
def test_what_bootstrap_sets_is_reserved(key):
    assert is_reserved(key)


@pytest.mark.parametrize("key", ["HOME", "USER", "PATH", "API_PORT", "PORTAL", "bootstrap_mode", "BOOTSTRAP"])
def test_all_other_names_are_free(key):
    assert not is_reserved(key)


def test_a_variable_is_too_long_from_the_first_byte_that_linux_refuses():
    assert not is_too_long("KEY", "x" * (LONGEST - 5))
    assert is_too_long("KEY", "x" * (LONGEST - 4))
    assert is_too_long("KEY", "ä" * (LONGEST // 2))


def test_the_layers_of_a_program_are_named_after_what_it_is():
    (program,) = plan(service("api")).programs
    assert layer_names(program, "staging", ORDER) == (
        "common",
        "modes/staging",
        "services/api/common",
        "services/api/staging",
    )
    assert layer_names(program, "staging", ("{process}/x-{mode}.{service}",)) == ("web/x-staging.api",)


def test_a_layer_that_is_named_twice_lies_where_it_is_strongest():
    (program,) = plan(service("api")).programs
    assert layer_names(program, "common", ("common", "{service}", "{mode}")) == ("api", "common")


def test_a_program_finds_nothing_but_what_is_set_for_it():
    assert values(one(plan(service("api", Process(name="web", command="serve", port=8002))))) == {
        "PATH": STANDARD_PATH,
        "HOME": "/home/ann",
        "USER": "ann",
        "API_HOST": "127.0.0.1",
        "API_PORT": "8002",
        "API_URL": "http://127.0.0.1:8002",
        "PORT": "8002",
        "BOOTSTRAP_MODE": "review",
        "BOOTSTRAP_SERVICE": "api",
        "BOOTSTRAP_PROCESS": "web",
        "BOOTSTRAP_PROGRAM": "api-web",
        "BOOTSTRAP_INSTANCE": "1",
        "BOOTSTRAP_DATA": "/state/data/api",
    }


def test_every_layer_lies_over_the_ones_before_it():
    keys = ["ENV", "COMMON", "MODE", "SERVICE", "BOTH"]
    said = dict.fromkeys
    environment = one(
        plan(service("api", env=said(keys, "env"))),
        common=said(keys[1:], "common"),
        modes__review=said(keys[2:], "mode"),
        services__api__common=said(keys[3:], "service"),
        services__api__review=said(keys[4:], "both"),
    )
    found = environment.variables
    assert {key: found[key].value for key in keys} == {
        "ENV": "env",
        "COMMON": "common",
        "MODE": "mode",
        "SERVICE": "service",
        "BOTH": "both",
    }
    assert [(found[key].layer, found[key].file) for key in keys] == [
        ("env", "services/api/service.yaml"),
        ("config/common", "config/common/COMMON"),
        ("config/modes/review", "config/modes/review/MODE"),
        ("config/services/api/common", "config/services/api/common/SERVICE"),
        ("config/services/api/review", "config/services/api/review/BOTH"),
    ]


def test_a_key_remembers_what_it_shadows_strongest_last():
    environment = one(
        plan(service("api", env={"LEVEL": "info"})),
        common={"LEVEL": None},
        modes__review={"LEVEL": "debug"},
        shadowed={"modes/review": {"LEVEL": "trace"}},
    )
    assert [(layer, setting.value, setting.file) for layer, setting in environment.history("LEVEL")] == [
        ("env", "info", "services/api/service.yaml"),
        ("config/common", None, "config/common/LEVEL"),
        ("config/modes/review", "trace", "config/modes/review/.env"),
        ("config/modes/review", "debug", "config/modes/review/LEVEL"),
    ]
    assert environment.history("NOTHING") == ()


@pytest.mark.parametrize("key", ["LEVEL", "HOME", "API_URL"])
def test_an_empty_file_removes_whatever_lies_below(key):
    environment = one(
        plan(service("api", Process(name="web", command="serve", port=1), env={"LEVEL": "info"})),
        modes__review={key: None},
    )
    assert key not in environment.variables
    assert environment.history(key)[-1][1].file == f"config/modes/review/{key}"


def test_a_removed_key_can_be_set_again_above():
    environment = one(plan(service("api")), common={"KEY": None}, modes__review={"KEY": "back"})
    assert environment.variables["KEY"].value == "back"


def test_layers_may_set_home_and_user():
    environment = one(plan(service("api")), common={"HOME": "/tmp", "USER": "me"})
    assert (environment.variables["HOME"].value, environment.variables["USER"].value) == ("/tmp", "me")


def test_config_lies_over_the_addresses_of_services_and_the_definition_below_them():
    wanted = plan(service("api", Process(name="web", command="x", port=80), env={"API_HOST": "env", "API_PORT": "env"}))
    environment = one(wanted, common={"API_HOST": "elsewhere"})
    assert environment.variables["API_HOST"].value == "elsewhere"
    assert environment.variables["API_PORT"].value == "80"
    assert [layer for layer, _ in environment.history("API_HOST")] == ["env", "services on this box", "config/common"]


@pytest.mark.parametrize(
    ("processes", "port", "url"),
    [
        ([Process(name="rpc", command="x", port=1), Process(name="web", command="x", port=2)], "2", "http"),
        ([Process(name="web", command="x"), Process(name="rpc", command="x", port=1)], "1", "tcp"),
        ([Process(name="b", command="x", port=1), Process(name="a", command="x", port=2)], "1", "tcp"),
        ([Process(name="b", command="x", port=1, ready=Tcp())], "1", "tcp"),
        ([Process(name="b", command="x", port=1, ready=Http(path="/"))], "1", "http"),
        ([Process(name="b", command="x", port=1, check=Check(probe=Http(path="/")))], "1", "http"),
        ([Process(name="b", command="x", port=1, check=Check(probe=Tcp()))], "1", "tcp"),
    ],
)
def test_a_service_is_reached_at_web_or_else_at_its_first_port(processes, port, url):
    environment = layered(plan(service("my-api", *processes), service("other")))["other-web"]
    found = {key: value for key, value in values(environment).items() if key.startswith("MY_")}
    assert found == {"MY_API_HOST": "127.0.0.1", "MY_API_PORT": port, "MY_API_URL": f"{url}://127.0.0.1:{port}"}


def test_a_service_without_a_port_has_no_address():
    assert not [key for key in one(plan(service("api"))).variables if key.startswith("API_")]


def test_a_scaled_service_is_reached_at_its_first_instance():
    wanted = plan(service("api", Process(name="web", command="x", port=8000)), scale={"web": 3})
    found = layered(wanted)
    assert [found[name].variables["API_PORT"].value for name in found] == ["8000"] * 3
    assert [found[name].variables["PORT"].value for name in found] == ["8000", "8001", "8002"]
    assert [found[name].variables["BOOTSTRAP_INSTANCE"].value for name in found] == ["1", "2", "3"]
    assert [found[name].variables["BOOTSTRAP_PROGRAM"].value for name in found] == [
        "api-web-1",
        "api-web-2",
        "api-web-3",
    ]


def test_the_address_of_a_service_that_begins_with_a_digit_is_a_legal_name():
    found = one(plan(service("3d", Process(name="web", command="x", port=1))))
    assert found.variables["_3D_PORT"].value == "1"
    assert all(re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", key) for key in found.variables)


def test_programs_of_one_service_share_no_state():
    found = layered(plan(service("api", Process(name="web", command="x", port=1), Process(name="worker", command="x"))))
    assert found["api-web"].variables["PORT"].value == "1"
    assert "PORT" not in found["api-worker"].variables


@pytest.mark.parametrize(
    ("directory", "path", "expected"),
    [
        (".", ("bin",), f"/srv/services/api/bin:{STANDARD_PATH}"),
        ("app", ("../.venv/bin", "bin"), f"/srv/services/api/.venv/bin:/srv/services/api/app/bin:{STANDARD_PATH}"),
        (".", ("/opt/python/bin",), f"/opt/python/bin:{STANDARD_PATH}"),
        (".", (), STANDARD_PATH),
    ],
)
def test_the_runtime_path_is_in_front_and_absolute(directory, path, expected):
    assert one(plan(service("api", directory=directory, path=path))).variables["PATH"].value == expected


def test_the_runtime_path_stays_in_front_of_what_layers_say():
    environment = one(plan(service("api", path=("bin",))), common={"PATH": "/custom"})
    assert environment.variables["PATH"].value == "/srv/services/api/bin:/custom"
    assert [(layer, setting.value) for layer, setting in environment.history("PATH")] == [
        ("base", STANDARD_PATH),
        ("config/common", "/custom"),
        ("runtime.path", "/srv/services/api/bin:/custom"),
    ]


@pytest.mark.parametrize("path", [None, ""])
def test_a_path_that_is_removed_or_empty_does_not_let_in_the_working_directory(path):
    environment = one(plan(service("api", path=("bin",))), common={"PATH": path})
    assert environment.variables["PATH"].value == "/srv/services/api/bin"


def test_a_removed_path_stays_removed_without_a_runtime_path():
    assert "PATH" not in one(plan(service("api")), common={"PATH": None}).variables


def test_a_reference_becomes_the_value_that_was_resolved():
    variable = one(plan(service("api")), common={"TOKEN": SSM}, secrets={SSM: "s3cret"}).variables["TOKEN"]
    assert (variable.value, variable.secret) == ("s3cret", True)


def test_what_a_service_calls_secret_is_secret_whoever_sets_it():
    environment = one(
        plan(service("api", Process(name="web", command="x", port=1), secret=("KEY", "PORT", "API_URL", "UNSET"))),
        common={"KEY": "x", "OTHER": "y"},
    )
    assert [key for key, variable in environment.variables.items() if variable.secret] == ["API_URL", "KEY", "PORT"]


def test_a_plain_value_over_a_reference_is_secret_and_needs_no_store():
    wanted = plan(service("api"))
    variable = one(wanted, common={"TOKEN": SSM}, modes__review={"TOKEN": "dev"}).variables["TOKEN"]
    assert (variable.value, variable.secret) == ("dev", True)


def test_a_path_from_a_store_is_secret_as_a_whole():
    variable = one(plan(service("api", path=("bin",))), common={"PATH": SSM}, secrets={SSM: "/x"}).variables["PATH"]
    assert (variable.value, variable.secret) == ("/srv/services/api/bin:/x", True)


def test_only_references_that_win_somewhere_are_needed_with_their_files():
    wanted = plan(service("api"), service("web"))
    mine, lost, removed = (Reference(kind="secret", text=text) for text in ("mine", "lost", "removed"))
    layers = layering(
        wanted,
        common={"TOKEN": SSM, "LOST": lost, "REMOVED": removed},
        modes__review={"LOST": "plain", "REMOVED": None},
        services__api__common={"TOKEN": mine, "SAME": SSM},
        services__web__common={"AGAIN": SSM},
    )
    assert needed_references(wanted, layers) == {
        mine: (("config/services/api/common/TOKEN",), ("api-web",)),
        SSM: (
            ("config/services/api/common/SAME", "config/common/TOKEN", "config/services/web/common/AGAIN"),
            ("api-web", "web-web"),
        ),
    }


def test_every_missing_variable_of_every_program_is_told_at_once():
    wanted = plan(service("api", requires=("A", "B", "C")), service("web", requires=("A", "D"), env={"D": "d"}))
    with pytest.raises(MissingVariable) as caught:
        layered(wanted, common={"B": ""}, modes__review={"C": None})
    assert str(caught.value) == (
        'cannot start "api-web": missing variable A (looked in env of services/api/service.yaml, config/common, '
        "config/modes/review, config/services/api/common, config/services/api/review)\n"
        "  way out: write its value to config/services/api/review/A\n"
        'cannot start "api-web": missing variable C (removed by config/modes/review/C; looked in env of '
        "services/api/service.yaml, config/common, config/modes/review, config/services/api/common, "
        "config/services/api/review)\n"
        "  way out: write its value to config/services/api/review/C\n"
        'cannot start "web-web": missing variable A (looked in env of services/web/service.yaml, config/common, '
        "config/modes/review, config/services/web/common, config/services/web/review)\n"
        "  way out: write its value to config/services/web/review/A"
    )
    assert len(caught.value.problems) == 3


def test_a_missing_secret_can_be_a_reference():
    with pytest.raises(MissingVariable) as caught:
        layered(plan(service("api", requires=("A",), secret=("A",))))
    assert str(caught.value).endswith(
        "  way out: write its value to config/services/api/review/A, or where it is kept to A.ssm or A.secret there"
    )


def test_an_incomplete_environment_can_be_looked_at():
    wanted = plan(service("api", requires=("A",)))
    assert "A" not in layered(wanted, incomplete=True)["api-web"].variables


def test_the_definition_cannot_set_what_only_bootstrap_may():
    wanted = plan(service("api", env={"BOOTSTRAP_MARK": "x", "FINE": "x"}), service("web", env={"BOOTSTRAP_MODE": "x"}))
    with pytest.raises(DefinitionError) as caught:
        layered(wanted)
    assert str(caught.value) == (
        'cannot set variable "BOOTSTRAP_MARK": names that begin with BOOTSTRAP_ are set by bootstrap alone\n'
        "  where: services/api/service.yaml: env/BOOTSTRAP_MARK\n"
        "  way out: give the variable another name\n"
        'cannot set variable "BOOTSTRAP_MODE": names that begin with BOOTSTRAP_ are set by bootstrap alone\n'
        "  where: services/web/service.yaml: env/BOOTSTRAP_MODE\n"
        "  way out: give the variable another name"
    )


def test_the_definition_cannot_set_port_where_a_process_has_one():
    with pytest.raises(DefinitionError) as caught:
        layered(plan(service("api", Process(name="web", command="serve", port=8001), env={"PORT": "9"})))
    assert str(caught.value) == (
        'cannot set variable "PORT": process "web" has a port, and is told it in this variable\n'
        "  where: services/api/service.yaml: env/PORT\n"
        "  way out: leave one of the two, processes/web/port"
    )
    environments = layered(plan(service("api", env={"PORT": "9"})))
    assert environments["api-web"].variables["PORT"].value == "9"


def test_another_order_of_layers_is_obeyed():
    wanted = plan(service("api"))
    order = ("services/{service}/common", "common", "only/{process}")
    environment = one(
        wanted,
        order=order,
        common={"A": "common", "B": "common"},
        services__api__common={"A": "service"},
        only__web={"B": "process"},
    )
    assert (environment.variables["A"].value, environment.variables["B"].value) == ("common", "process")


def test_programs_of_one_service_may_have_layers_of_their_own():
    wanted = plan(service("api", Process(name="web", command="x"), Process(name="worker", command="x")))
    found = layered(wanted, order=("common", "{process}"), common={"A": "0"}, web={"A": "1"}, worker={"A": None})
    assert found["api-web"].variables["A"].value == "1"
    assert "A" not in found["api-worker"].variables


def test_what_several_programs_find_in_one_file_is_told_once():
    wanted = plan(service("api"), service("page"))
    layers = replace(layering(wanted, common={"WORKERS": "many"}), rules=parse_rules(b"WORKERS: {type: integer}\n"))
    with pytest.raises(DefinitionError) as error:
        layer_environments(wanted, layers, {"api-web": ANN, "page-web": ANN}, {}, BOX)
    assert str(error.value) == (
        'cannot start "api-web", "page-web": variable WORKERS should be an integer, not "many"\n'
        "  where: config/common/WORKERS (config/schema.yaml:1)\n"
        "  way out: correct the value, or what the schema says about it"
    )
