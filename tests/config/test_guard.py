import pytest

from bootstrap.config.guard import hosts_in
from bootstrap.config.layer_order import parse_layers_file
from bootstrap.reading.problem import FlawedError, render_problems

LAYERS = "layers: [common]\n"


def test_a_guard_says_what_a_mode_must_never_reach():
    said = parse_layers_file(
        f"{LAYERS}guard:\n  review: {{against: [production], hosts: ['*.prod.x'], secrets: [/prod/*], allow: [a.b]}}\n".encode()
    )
    guard = said.guards["review"]
    assert (guard.line, guard.against, guard.hosts, guard.secrets, guard.allow) == (
        3,
        ("production",),
        ("*.prod.x",),
        ("/prod/*",),
        ("a.b",),
    )


@pytest.mark.parametrize(
    ("guard", "expected"),
    [
        ("[review]", "config/layers.yaml:2: guard: should be a mapping, not a list"),
        ("{review: {again: [x]}}", 'config/layers.yaml:2: guard/review/again: unknown key; did you mean "against"?'),
        ("{review: {against: x}}", 'config/layers.yaml:2: guard/review/against: should be a list, not "x"'),
    ],
)
def test_a_wrong_guard_is_refused(guard, expected):
    with pytest.raises(FlawedError) as caught:
        parse_layers_file(f"{LAYERS}guard: {guard}\n".encode())
    assert render_problems("config/layers.yaml", caught.value.problems) == [expected]


@pytest.mark.parametrize(
    ("value", "hosts"),
    [
        ("postgresql://u:p@DB.prod.example.com:5432/x", ["db.prod.example.com"]),
        ("http://a.b,http://c.d/x?y=http://e.f", ["a.b", "c.d", "e.f"]),
        ("cache.example.com:6379", ["cache.example.com"]),
        ("one.example.com, two.example.com", ["one.example.com", "two.example.com"]),
        ("10.1.2.3", ["10.1.2.3"]),
        ("http://[::1]:80/", ["[::1]"]),
        ("http://internal/", ["internal"]),
        ("1.2.3", []),
        ("v1.25", []),
        ("just words. and more", []),
        ("info", []),
        ("/etc/app.conf", []),
    ],
)
def test_hosts_are_found_in_urls_and_alone(value, hosts):
    assert list(hosts_in(value)) == hosts
