import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.catalog import MODES, Sources, parse_catalog
from bootstrap.definition import Catalog, Health, Process, Service
from bootstrap.errors import DefinitionError, TagError
from bootstrap.identity import Identity
from bootstrap.plan import resolve_plan
from bootstrap.waves import count_waves, find_cycles


def identity(mode="review", *, scale=None, refs=None, **tags):
    return Identity(mode=mode, scale=scale or {}, refs=refs or {}, tags=(), **tags)


def service(name, *processes, **fields):
    made = {process.name: process for process in processes or (Process(name="main", command="x"),)}
    return Service(
        name=name, file=f"services/{name}/service.yaml", folder=f"/srv/services/{name}", processes=made, **fields
    )


def catalog(*services):
    return Catalog(
        services={each.name: each for each in sorted(services, key=lambda each: each.name)},
        modes={mode.name: mode for mode in MODES},
    )


WEB = Process(name="web", command="./serve", port=8000)
WORKER = Process(name="worker", command="./work")
SHOP = catalog(
    service("api", WEB, WORKER, needs=("db", "queue")),
    service("page", replace(WEB, port=9000), needs=("api",)),
    service("db", backing=True),
    service("queue", backing=True, needs=("db",)),
    service("mail"),
)


def planned(tags, services=SHOP):
    return [(program.name, program.wave) for program in resolve_plan(tags, services).programs]


def names(tags, services=SHOP):
    return [program.name for program in resolve_plan(tags, services).programs]


def refused(error, tags, services=SHOP):
    with pytest.raises(error) as caught:
        resolve_plan(tags, services)
    assert type(caught.value) is error
    return list(caught.value.problems)


@pytest.mark.parametrize("mode", ["review", "development"])
def test_a_mode_that_runs_everything_runs_it_in_waves_by_need_then_name(mode):
    assert planned(identity(mode)) == [
        ("db-main", 0),
        ("mail-main", 0),
        ("queue-main", 1),
        ("api-web", 2),
        ("api-worker", 2),
        ("page-web", 3),
    ]


@pytest.mark.parametrize("mode", ["staging", "production"])
def test_a_mode_that_runs_one_runs_the_service_without_what_it_needs(mode):
    assert planned(identity(mode, service="api")) == [("api-web", 0), ("api-worker", 0)]


def test_a_backing_service_runs_alone_when_it_is_the_one_named():
    assert planned(identity("production", service="queue")) == [("queue-main", 0)]


def test_a_process_narrows_its_service():
    assert planned(identity("production", service="api", process="worker")) == [("api-worker", 0)]


def test_a_service_in_a_mode_that_runs_everything_brings_what_it_needs_through_others_too():
    assert planned(identity(service="page")) == [
        ("db-main", 0),
        ("queue-main", 1),
        ("api-web", 2),
        ("api-worker", 2),
        ("page-web", 3),
    ]


def test_a_process_does_not_narrow_what_its_service_needs():
    assert names(identity(service="page", process="web")) == names(identity(service="page"))
    assert names(identity(service="api", process="web")) == ["db-main", "queue-main", "api-web"]


def test_a_mode_of_the_root_is_as_good_as_a_built_in_one():
    files = {
        "services/modes.yaml": b"demo: {runs: one}",
        "services/api/Procfile": b"web: ./serve",
    }
    services = parse_catalog(Sources(root="/srv", files=files))
    (program,) = resolve_plan(identity("demo", service="api"), services).programs
    assert (program.name, program.port, program.instance) == ("api-web", 5000, 1)
    assert program.service is services.services["api"]


def test_a_root_without_services_has_an_empty_plan():
    assert resolve_plan(identity(), catalog()).programs == ()


def test_the_plan_holds_the_identity_that_it_was_made_for():
    tags = identity("production", service="api")
    assert resolve_plan(tags, SHOP).identity is tags


def test_instances_are_numbered_and_their_ports_follow_one_another():
    shop = catalog(service("api", replace(WEB, instances=3)))
    programs = resolve_plan(identity(), shop).programs
    assert [(program.name, program.instance, program.port) for program in programs] == [
        ("api-web-1", 1, 8000),
        ("api-web-2", 2, 8001),
        ("api-web-3", 3, 8002),
    ]


def test_a_scale_is_for_every_planned_process_of_that_name():
    assert names(identity(scale={"web": 2})) == [
        "db-main",
        "mail-main",
        "queue-main",
        "api-web-1",
        "api-web-2",
        "api-worker",
        "page-web-1",
        "page-web-2",
    ]


def test_a_scale_of_one_takes_back_the_instances_of_the_definition():
    shop = catalog(service("api", replace(WORKER, instances=3)))
    assert names(identity(scale={"worker": 1}), shop) == ["api-worker"]


def test_instances_without_a_port_have_none():
    programs = resolve_plan(identity("production", service="api", process="worker", scale={"worker": 2}), SHOP).programs
    assert [program.port for program in programs] == [None, None]


ALL = "(services: api, db, mail, page, queue)"


@pytest.mark.parametrize(
    ("tags", "problems"),
    [
        (
            identity("prodution"),
            [
                (
                    'cannot use mode "prodution": no such mode; did you mean "production"? '
                    "(modes: development, production, review, staging)"
                )
            ],
        ),
        (
            identity("xyz"),
            ['cannot use mode "xyz": no such mode (modes: development, production, review, staging)'],
        ),
        (
            identity("production"),
            [f'cannot use mode "production": it runs one service, and tag bootstrap:service is not set {ALL}'],
        ),
        (
            identity("production", service="apu"),
            [f'cannot use service "apu": no such service; did you mean "api"? {ALL}'],
        ),
        (identity(service="zzz"), [f'cannot use service "zzz": no such service {ALL}']),
        (
            identity(process="web"),
            [
                (
                    'cannot use process "web": a process is one of a service, and tag bootstrap:service is not set '
                    "(services: api, db, mail, page, queue)"
                )
            ],
        ),
        (
            identity(service="api", process="wroker"),
            [
                (
                    'cannot use process "wroker": service "api" has no such process; did you mean "worker"? '
                    "(processes: web, worker)"
                )
            ],
        ),
        (
            identity("production", service="api", scale={"wbe": 2}),
            ['cannot scale process "wbe": no such process is planned; did you mean "web"? (processes: web, worker)'],
        ),
        (
            identity("production", service="api", process="web", scale={"worker": 2}),
            ['cannot scale process "worker": no such process is planned (processes: web)'],
        ),
        (
            identity("production", service="api", scale={"web": 60000}),
            [
                'cannot scale process "web" to 60000: service "api" gives it port 8000, and the last port is 65535',
            ],
        ),
        (
            identity(refs={"apl": "fix-1"}),
            [f'cannot use tag "bootstrap:ref.apl": no such service; did you mean "api"? {ALL}'],
        ),
        (
            identity("prod", service="apu", refs={"apl": "fix-1"}),
            [
                (
                    'cannot use mode "prod": no such mode; did you mean "production"? '
                    "(modes: development, production, review, staging)"
                ),
                f'cannot use service "apu": no such service; did you mean "api"? {ALL}',
                f'cannot use tag "bootstrap:ref.apl": no such service; did you mean "api"? {ALL}',
            ],
        ),
        (
            identity(refs={"apl": "fix-1"}, scale={"wbe": 2}),
            [
                f'cannot use tag "bootstrap:ref.apl": no such service; did you mean "api"? {ALL}',
                (
                    'cannot scale process "wbe": no such process is planned; did you mean "web"? '
                    "(processes: main, web, worker)"
                ),
            ],
        ),
    ],
)
def test_tags_that_fit_no_definition_are_refused_with_what_would(tags, problems):
    assert refused(TagError, tags) == problems


def test_a_ref_may_name_a_service_that_runs_elsewhere():
    assert names(identity("production", service="mail", refs={"api": "fix-1"})) == ["mail-main"]


def test_a_long_list_of_what_is_valid_is_cut():
    shop = catalog(*(service(f"s{number:02}") for number in range(25)))
    (problem,) = refused(TagError, identity(service="zz"), shop)
    shown = ", ".join(f"s{number:02}" for number in range(20))
    assert problem == f'cannot use service "zz": no such service (services: {shown} and 5 more)'


def test_two_programs_on_one_port_are_refused_with_both_files():
    shop = catalog(service("api", WEB), service("page", WEB))
    assert refused(DefinitionError, identity(), shop) == [
        (
            'cannot plan program "page-web": port 8000 is also the port of program "api-web"\n'
            "  where: services/api/service.yaml, services/page/service.yaml\n"
            "  way out: give one of them another port"
        )
    ]


def test_an_instance_on_the_port_of_another_program_is_refused():
    shop = catalog(service("api", WEB, replace(WORKER, port=8001)))
    assert names(identity(), shop) == ["api-web", "api-worker"]
    assert refused(DefinitionError, identity(scale={"web": 2}), shop) == [
        (
            'cannot plan program "api-worker": port 8001 is also the port of program "api-web-2"\n'
            "  where: services/api/service.yaml\n"
            "  way out: give one of them another port"
        )
    ]


def test_the_same_port_on_different_boxes_is_nobodys_problem():
    shop = catalog(service("api", WEB), service("page", WEB))
    assert names(identity("production", service="page"), shop) == ["page-web"]


def test_the_health_endpoint_has_its_port_where_its_service_is_what_the_box_is_for():
    shop = catalog(service("api", WEB, health=Health(port=8000)), service("page"))
    assert names(identity(), shop) == ["api-web", "page-main"]
    assert refused(DefinitionError, identity("production", service="api"), shop) == [
        (
            'cannot plan program "api-web": port 8000 is also the port of the health endpoint\n'
            "  where: services/api/service.yaml\n"
            "  way out: give one of them another port"
        )
    ]


def test_a_scale_that_gives_two_programs_one_name_is_refused():
    shop = catalog(service("api", WORKER, replace(WORKER, name="worker-2")))
    assert refused(DefinitionError, identity(scale={"worker": 2}), shop) == [
        (
            'cannot plan program "api-worker-2": process "worker" and process "worker-2" both come to this name\n'
            "  where: services/api/service.yaml\n"
            "  way out: rename one of them, or scale it differently"
        )
    ]


GRAPHS = st.integers(0, 8).flatmap(
    lambda size: st.fixed_dictionaries(
        {f"n{number}": st.lists(st.sampled_from([f"n{n}" for n in range(size)] + ["gone"])) for number in range(size)}
    )
)


@given(GRAPHS)
def test_everything_starts_one_wave_after_the_last_of_what_it_needs_or_stands_behind_a_cycle(needs):
    waves = count_waves(needs)
    for name, wanted in needs.items():
        present = [need for need in wanted if need in needs]
        if name in waves:
            assert waves[name] == max((waves[need] + 1 for need in present), default=0)
        else:
            assert any(need not in waves for need in present)


@given(GRAPHS)
def test_a_cycle_is_found_exactly_when_something_cannot_start(needs):
    cycles = find_cycles(needs)
    assert bool(cycles) == (len(count_waves(needs)) < len(needs))
    for cycle in cycles:
        assert cycle[0] == cycle[-1] == min(cycle)
        assert all(need in needs[name] for name, need in itertools.pairwise(cycle))
