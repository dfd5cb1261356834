import pytest

from bootstrap.reading.problem import FlawedError, render_problems
from bootstrap.rules import Breach, judge_values, parse_rules, secret_keys
from bootstrap.variable import Variable


def problems(text):
    with pytest.raises(FlawedError) as caught:
        parse_rules(text.encode())
    return render_problems("config/schema.yaml", caught.value.problems)


def causes(schema, value, *, secret=False, unknown=()):
    variables = {"KEY": Variable("KEY", value, secret, "config/common", "config/common/KEY")}
    breaches = list(judge_values(parse_rules(schema.encode()), variables, unknown))
    assert all(isinstance(one, Breach) and one.file == "config/common/KEY" for one in breaches)
    return [one.cause for one in breaches]


def test_a_schema_says_what_each_key_must_hold():
    rules = parse_rules(
        b"A: {required: true, type: url, secret: true, description: The way in}\n"
        b"B: {required: [api, web], allowed: [x, y]}\nC:\n"
    )
    assert [(rule.key, rule.place, rule.required, rule.secret) for rule in rules.values()] == [
        ("A", "config/schema.yaml:1", True, True),
        ("B", "config/schema.yaml:2", ("api", "web"), None),
        ("C", "config/schema.yaml:3", False, None),
    ]
    assert [rules["A"].is_required_by("db"), rules["B"].is_required_by("db"), rules["B"].is_required_by("api")] == [
        True,
        False,
        True,
    ]
    assert secret_keys(rules) == ("A",)


def test_an_empty_schema_says_nothing():
    assert parse_rules(b"# nothing yet\n") == {}


def test_every_mistake_in_a_schema_is_told_at_once():
    text = "A-B: {}\nB: {requird: true}\nC: {type: int}\nD: {type: integer, allowed: ['1', two]}\nE: [x]\nB: {}\n"
    assert problems(text) == [
        'config/schema.yaml:1: "A-B" is no name for a variable; use letters, digits and _, no digit first'.replace(
            ': "A-B"', ': A-B: "A-B"'
        ),
        'config/schema.yaml:2: B/requird: unknown key; did you mean "required"?',
        'config/schema.yaml:3: C/type: should be "text" or "integer" or "number" or "boolean" or "port" or "url" or "json", not "int"',
        'config/schema.yaml:4: D/allowed: "two" is not of the type, an integer',
        "config/schema.yaml:5: E: should be a mapping, not a list",
        "config/schema.yaml:6: B: stands twice, first in line 2",
    ]


@pytest.mark.parametrize(
    ("kind", "fit", "unfit"),
    [
        ("text", ["", "x\ny"], []),
        ("integer", ["0", "-12", "+3", "007"], ["", "1.0", "one", "1 ", "१"]),
        ("number", ["0", "-1.5", ".5", "1e-3", "2."], ["", ".", "1,5", "nan", "0x10"]),
        ("boolean", ["true", "No", "ON", "0"], ["", "y", "2", "truthy"]),
        ("port", ["1", "65535"], ["0", "65536", "", "80a", "²", "٣"]),
        (
            "url",
            ["https://x", "postgresql://u:p@h/db", "redis:x", "mailto:a@b"],
            ["", "x", "//x", "http://", "a b://c"],
        ),
        ("json", ["{}", '"x"', "1"], ["", "{", "'x'", "[" * 100_000]),
    ],
)
def test_a_type_says_which_texts_fit(kind, fit, unfit):
    schema = f"KEY: {{type: {kind}}}"
    assert [value for value in fit if causes(schema, value)] == []
    assert [value for value in unfit if not causes(schema, value)] == []


def test_a_value_that_is_not_allowed_is_told_with_what_is():
    assert causes("KEY: {allowed: [b, a]}", "c") == ['should be one of a, b, not "c"']
    assert causes("KEY: {type: port}", "http") == ['should be a port from 1 to 65535, not "http"']


def test_a_secret_is_not_told_back():
    assert causes("KEY: {type: integer}", "hunter2", secret=True) == [
        "should be an integer and is not (a secret is not shown)"
    ]


def test_what_stands_in_a_store_is_not_judged_unseen():
    assert causes("KEY: {type: integer}", "", unknown={"KEY"}) == []
