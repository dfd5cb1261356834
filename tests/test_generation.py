"""What decides a fingerprint, and so a restart; what makes another generation and restarts nothing; what is in neither."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.definition import Alive, Check, Health, Limits, Process, Restart, Service, Stop, Tcp
from bootstrap.errors import DefinitionError
from bootstrap.generation import render_generation
from bootstrap.identity import Identity
from bootstrap.plan import Plan, Program
from bootstrap.rendering import facts_of, parse_summary, render_summary
from bootstrap.variable import Account, Environment, Variable

KEY = bytes(32)
STORE = "/state/run/store"
ROOT, ANN = Account(name="root", uid=0, gid=0, home="/root"), Account(name="ann", uid=1000, gid=1000, home="/home/ann")
WEB = Process(name="web", command="./serve", port=8001)
API = Service(
    name="api", file="services/api/service.yaml", folder="/srv/services/api", needs=("db",), processes={"web": WEB}
)


def program(service=API, process=WEB, **fields):
    return Program(
        **{"name": "api-web", "service": service, "process": process, "instance": 1, "port": 8001, "wave": 1} | fields
    )


def environment(layer="common", **values):
    return Environment(
        variables={
            key: Variable(key=key, value=value, secret=False, layer=f"config/{layer}", file=f"config/{layer}/{key}")
            for key, value in values.items()
        },
        layers=(),
    )


USUAL = environment(LEVEL="info", PATH="/bin")


def render(one=None, env=USUAL, account=ROOT, key=KEY, service_tag=None, **more):
    one = one or program()
    identity = Identity(mode="production", service=service_tag, scale={}, refs={}, tags=())
    return render_generation(
        Plan(identity=identity, programs=(one,)),
        {one.name: env},
        {one.name: account},
        me=0,
        store=STORE,
        key=key,
        **more,
    )


def fingerprint(*arguments, **named):
    (unit,) = render(*arguments, **named).generation.units
    return unit.fingerprint


def of_process(**fields):
    return {"one": program(process=replace(WEB, **fields))}


def of_service(**fields):
    return {"one": program(service=replace(API, **fields))}


RESTARTS = {
    "another value": {"env": environment(LEVEL="debug", PATH="/bin")},
    "one variable more": {"env": environment(LEVEL="info", PATH="/bin", MORE="")},
    "one variable less": {"env": environment(PATH="/bin")},
    "another user": {"account": ANN},
    "another key of the box": {"key": bytes(31) + b"x"},
    "the command": of_process(command="./serve --fast"),
    "limits": of_process(limits=Limits(nofile=9)),
    "the stop signal": of_process(stop=Stop(signal="INT")),
    "the grace": of_process(stop=Stop(grace_s=3.0)),
    "the stop script": of_process(stop=Stop(script="./quiesce")),
    "the restart window": of_process(restart=Restart(starts=2)),
    "a finish script": of_process(finish="./finish"),
    "a control script": of_process(control={"t": "./t"}),
    "the directory": of_service(directory="app"),
    "the folder": of_service(folder="/srv/elsewhere"),
    "whose output it reads": {"one": program(writer="api-other")},
}
ANOTHER_GENERATION = {
    "readiness": of_process(ready=Tcp()),
    "a check": of_process(check=Check(probe=Tcp())),
    "reload": of_process(reload="HUP"),
    "by hand": of_process(start="by-hand"),
    "set-up": of_service(setup=("./migrate",)),
    "the wave": {"one": program(wave=2)},
    "the port alone": {"one": program(port=8002)},
    "where the page listens": {**of_service(health=Health(port=9000)), "service_tag": "api"},
}
NEITHER = {
    "a description": of_service(description="words"),
    "what is needed and not here": of_service(needs=("db", "queue")),
    "a value moved to another layer": {"env": environment(layer="modes/production", LEVEL="info", PATH="/bin")},
    "the version of a secret": {"versions": {"config/common/LEVEL": "7"}},
}


@pytest.mark.parametrize("change", RESTARTS)
def test_what_a_process_is_made_from_restarts_it(change):
    assert fingerprint(**RESTARTS[change]) != fingerprint()


@pytest.mark.parametrize("change", ANOTHER_GENERATION)
def test_what_is_only_looked_at_from_outside_is_another_generation_of_the_same_process(change):
    changed, before = render(**ANOTHER_GENERATION[change]).generation, render().generation
    assert changed.units[0].fingerprint == before.units[0].fingerprint
    assert changed.id != before.id


@pytest.mark.parametrize("change", NEITHER)
def test_what_changes_nothing_is_no_other_generation(change):
    assert render(**NEITHER[change]).generation == render().generation


def test_what_differs_is_told_where_it_decides_nothing():
    (told,) = facts_of(render(**NEITHER["a value moved to another layer"]).entries).values()
    assert told["env"]["LEVEL"][1] == "config/modes/production/LEVEL"
    (told,) = facts_of(render(**NEITHER["the version of a secret"]).entries).values()
    assert told["versions"] == {"LEVEL": "7"}


@given(st.binary(min_size=12, max_size=40).filter(lambda value: b"\0" not in value))
def test_a_value_is_in_the_environment_alone(value):
    text = value.decode(errors="surrogateescape")
    rendering = render(env=environment(CANARY=text, PATH="/bin"))
    (entry,) = rendering.entries
    for name, (_content, mode) in entry.files.items():
        assert mode & 0o077 == 0, name
    public = render_summary(rendering.generation) + entry.files["program.json"][0] + entry.files["run"][0]
    assert value not in public
    assert json.dumps(text)[1:-1].encode() not in public


def test_a_generation_is_read_back_as_it_was_written():
    for changed in [*RESTARTS.values(), *ANOTHER_GENERATION.values()]:
        generation = render(**changed).generation
        assert parse_summary(render_summary(generation)) == generation


def test_scripts_stand_beside_what_they_are_for():
    process = replace(WEB, stop=Stop(script="./quiesce"), finish="./finish", control={"u": "./up"}, ready=Alive())
    (entry,) = render(program(process=process)).entries
    assert entry.files.keys() == {"run", "env", "program.json", "secrets", "control/t", "control/u", "finish"}
    assert {name for name, (_, mode) in entry.files.items() if mode == 0o700} == {
        "run",
        "control/t",
        "control/u",
        "finish",
    }


def test_every_name_that_no_shell_carries_is_told_with_its_place():
    with pytest.raises(DefinitionError) as error:
        render(env=environment(PPID="1", IFS=" ", FINE="1"))
    assert error.value.problems == tuple(
        f'cannot set "{name}" for "api-web": the shell keeps this name for itself\n'
        f"  where: config/common/{name}\n  way out: give the variable another name"
        for name in ("IFS", "PPID")
    )
