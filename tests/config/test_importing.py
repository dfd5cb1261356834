import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.config.dotenv_file import parse_dotenv, render_line
from bootstrap.config.importing import name_parameters, own_layer, plan_writing, refuse_lossy
from bootstrap.errors import DefinitionError, Refused
from bootstrap.variable import Layer, Reference, Setting, parse_value, render_value

ORDER = ("common", "modes/{mode}", "services/{service}/common", "services/{service}/{mode}")
BYTES = st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b"").decode(errors="surrogateescape"))
ODD = st.text(st.sampled_from("a \t\n\r'\"\\#$=\x85é🙂"), max_size=12)


def layer(**settings):
    """Values are (value, file name)."""
    return Layer(
        name="config/x",
        settings={key: Setting(value=value, file=f"config/x/{file}") for key, (value, file) in settings.items()},
    )


@given(BYTES | ODD)
def test_a_file_holds_every_value_but_those_that_end_in_blanks(value):
    raw = render_value(value)
    if value.endswith((" ", "\t")):
        assert raw is None
    else:
        assert parse_value(raw) == value


def test_a_file_cannot_hold_nul_and_an_empty_one_removes():
    assert render_value("a\0b") is None
    assert parse_value(render_value(None)) is None


@given(ODD)
def test_a_line_of_a_dotenv_file_holds_every_text_but_a_backslash_at_its_end(value):
    line = render_line("KEY", value)
    if value.endswith("\\"):
        assert line is None
    else:
        assert parse_dotenv(line.encode()) == {"KEY": value}
        assert parse_dotenv(f"{line}NEXT='x'\n".encode()) == {"KEY": value, "NEXT": "x"}


@given(st.dictionaries(st.sampled_from("ABCD"), BYTES | ODD))
def test_whatever_is_not_refused_comes_back_from_what_is_written(values):
    try:
        refuse_lossy(values)
    except Refused:
        return
    writing = plan_writing(values, layer())
    found = parse_dotenv(writing.lines.encode()) | {key: parse_value(raw) for key, raw in writing.files.items()}
    assert found == values


def test_what_stands_in_the_way_is_removed_and_what_is_there_left_alone():
    there = layer(
        A=("x", "A"), B=("x", "B"), C=("x", ".env"), D=("x", "D"), E=(Reference(kind="ssm", text="/e"), "E.ssm")
    )
    reference = Reference(kind="secret", text="d")
    writing = plan_writing({"A": "x", "B": "blank ", "C": "new", "D": reference, "E": "x"}, there)
    assert writing.files == {"C": b"new\n", "D.secret": b"d\n"}
    assert writing.lines == 'B="blank "\n'
    assert (writing.removed, writing.kept, writing.unchanged) == (("B", "D"), ("E",), ("A",))


@pytest.mark.parametrize(
    ("service", "mode", "expected"),
    [
        ("api", "review", "services/api/review"),
        ("api", None, "services/api/common"),
        (None, "review", "modes/review"),
        (None, None, "common"),
    ],
)
def test_each_target_has_one_layer(service, mode, expected):
    assert own_layer(ORDER, service, mode) == expected


def test_the_strongest_of_several_layers_is_taken_and_none_invented():
    assert own_layer(("{mode}/a", "{mode}/{service}", "b/{mode}"), None, "review") == "b/review"
    with pytest.raises(DefinitionError):
        own_layer(("common", "{service}/{process}"), "api", None)


def test_parameters_are_named_by_the_last_part_of_theirs():
    assert name_parameters(["/a/KEY", "/a/b/OTHER"]) == {
        "KEY": Reference(kind="ssm", text="/a/KEY"),
        "OTHER": Reference(kind="ssm", text="/a/b/OTHER"),
    }
