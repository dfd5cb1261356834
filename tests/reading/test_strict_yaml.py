import itertools

import pytest
import yaml

from bootstrap.reading.problem import FlawedError, render_problems
from bootstrap.reading.strict_yaml import NOTHING, Forbidden, List, Map, Scalar, line_of, nodes_at, parse_yaml


@pytest.fixture(params=["libyaml", "pure"])
def parser(request, monkeypatch):
    """Wheels of PyYAML bring libyaml along; where it is missing, definitions mean the same."""
    if request.param == "pure":
        monkeypatch.setattr(yaml, "__with_libyaml__", False)
    elif not yaml.__with_libyaml__:
        pytest.skip("PyYAML was built without libyaml")
    return request.param


def problems_of(text):
    with pytest.raises(FlawedError) as caught:
        parse_yaml(text)
    return render_problems("f.yaml", caught.value.problems)


def test_mappings_lists_and_texts_become_nodes_with_their_lines(parser):
    assert parse_yaml("a: 1\nb:\n  - x\n  - {y: z}\n") == Map(
        (
            (Scalar("a", 1), Scalar("1", 1)),
            (
                Scalar("b", 2),
                List((Scalar("x", 3), Map(((Scalar("y", 4), Scalar("z", 4)),), 4)), 3),
            ),
        ),
        1,
    )


@pytest.mark.parametrize("text", ["no", "~", "0123", "12:30:45", "1e3", "2001-01-01", "<<", "=", "0x1F", ".inf"])
def test_a_scalar_is_the_text_that_stands_there(parser, text):
    assert parse_yaml(text) == Scalar(text, 1)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("'no'", "no"),
        ('"a\\tb"', "a\tb"),
        ("|\n  a\n  b\n", "a\nb\n"),
        (">-\n  a\n  b\n", "a b"),
        ("ü", "ü"),
        ("''", ""),
    ],
)
def test_quotes_and_blocks_are_read_as_yaml_reads_them(parser, text, means):
    assert parse_yaml(text).text == means


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_a_file_of_comments_is_nothing(parser, text):
    assert parse_yaml(text) is NOTHING


def test_keys_that_stand_twice_are_both_kept_for_who_knows_the_path(parser):
    assert parse_yaml("a: 1\na: 2") == Map(
        ((Scalar("a", 1), Scalar("1", 1)), (Scalar("a", 2), Scalar("2", 2))),
        1,
    )


ANCHOR = "anchors and aliases are not allowed; write the value out"
TAG = "tags are not allowed; write the value without it"


@pytest.mark.parametrize(
    ("text", "forbidden"),
    [
        ("&x y", Forbidden(ANCHOR, 1)),
        ("\n&x {a: b}", Forbidden(ANCHOR, 2)),
        ("&x [a]", Forbidden(ANCHOR, 1)),
        ("!!int 3", Forbidden(TAG, 1)),
        ("! y", Forbidden(TAG, 1)),
        ("!!python/object/apply:os.system [id]", Forbidden(TAG, 1)),
        ("!!map {a: b}", Forbidden(TAG, 1)),
    ],
)
def test_what_yaml_could_do_beyond_text_is_marked_as_forbidden(parser, text, forbidden):
    assert parse_yaml(text) == forbidden


def test_an_alias_is_forbidden_where_it_is_used(parser):
    entries = dict(parse_yaml("a: &x 1\nb: *x\n").entries)
    assert entries == {Scalar("a", 1): Forbidden(ANCHOR, 1), Scalar("b", 2): Forbidden(ANCHOR, 2)}


def test_a_bomb_of_aliases_has_no_level_that_goes_off(parser):
    bomb = "a: &a [x, x]\n" + "".join(
        f"{new}: &{new} [*{old}, *{old}]\n" for old, new in itertools.pairwise("abcdefghi")
    )
    assert {type(value) for _, value in parse_yaml(bomb).entries} == {Forbidden}


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_nesting_ends_at_twenty_levels(parser, opening):
    assert problems_of(opening * 100_000) == ["f.yaml:1: is nested deeper than 20 levels"]


def test_twenty_levels_are_allowed(parser):
    node = parse_yaml("[" * 20 + "x" + "]" * 20)
    assert nodes_at(node, *"*" * 20) == [(("0",) * 20, Scalar("x", 1))]


def test_a_second_document_is_refused_where_it_starts(parser):
    assert problems_of("a: b\n---\nc: d\n") == ["f.yaml:2: a second document starts here; one file holds one"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: b: c", 1),
        ("a:\n\t- b", 2),
        ("a: [b\nc: d", 2),
        ('a: "b', 1),
        ("a: @b", 1),
        ("a: b\n c: d\n e", 2),
        ("*", 1),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_line(parser, text, line):
    (problem,) = problems_of(text)
    assert problem.startswith(
        (f"f.yaml:{line}: cannot be read as YAML: ", f"f.yaml:{line + 1}: cannot be read as YAML: ")
    )


def test_the_sentence_of_libyaml_is_passed_on():
    assert problems_of("a: b: c") == [
        "f.yaml:1: cannot be read as YAML: mapping values are not allowed in this context"
    ]


def test_a_control_character_is_named(parser):
    assert problems_of("a: b\nc: \x07") == ["f.yaml:2: holds the character U+0007, which YAML does not allow"]


def test_the_line_of_a_path_is_that_of_the_nearest_node_above_what_is_missing():
    node = parse_yaml("a:\n  b:\n    - x\n    - y\n  c: z\n")
    assert [line_of(node, *path) for path in ((), ("a", "b", "1"), ("a", "c"), ("a", "c", "d"), ("a", "q"))] == [
        1,
        4,
        5,
        5,
        2,
    ]


def test_a_star_in_a_pattern_is_every_key_and_every_index():
    node = parse_yaml("a: {x: 1}\nb: {x: 2, y: 3}\nc: [4]\n? [d]\n: {x: 5}\n")
    assert nodes_at(node, "*", "x") == [(("a", "x"), Scalar("1", 1)), (("b", "x"), Scalar("2", 2))]
    assert nodes_at(node, "c", "*") == [(("c", "0"), Scalar("4", 3))]
