import pytest

from bootstrap.config.layer_order import parse_order
from bootstrap.reading.problem import FlawedError, render_problems


def problems(text):
    with pytest.raises(FlawedError) as caught:
        parse_order(text if isinstance(text, bytes) else text.encode())
    return render_problems("config/layers.yaml", caught.value.problems)


def test_an_order_is_a_list_of_directories_with_placeholders():
    text = 'layers:\n- common\n- "modes/{mode}"\n- "a.b/{service}-{process}/x_1"\n'
    assert parse_order(text.encode()) == ("common", "modes/{mode}", "a.b/{service}-{process}/x_1")


@pytest.mark.parametrize(
    ("directory", "cause"),
    [
        ("modes/{mod}", '"{mod}" stands for nothing; did you mean "{mode}"?'),
        ("{}", '"{}" stands for nothing; placeholders are {mode}, {process}, {service}'),
        ("{mode", 'should be a directory below config/ such as modes/{mode}, not "{mode"'),
        ("/etc", 'should be a directory below config/ such as modes/{mode}, not "/etc"'),
        ("..", 'should be a directory below config/ such as modes/{mode}, not ".."'),
        ("a/../../b", 'should be a directory below config/ such as modes/{mode}, not "a/../../b"'),
        (".", 'should be a directory below config/ such as modes/{mode}, not "."'),
        (".git", 'should be a directory below config/ such as modes/{mode}, not ".git"'),
        ("a//b", 'should be a directory below config/ such as modes/{mode}, not "a//b"'),
        ("a/", 'should be a directory below config/ such as modes/{mode}, not "a/"'),
        ("", 'should be a directory below config/ such as modes/{mode}, not ""'),
        ("a b", 'should be a directory below config/ such as modes/{mode}, not "a b"'),
    ],
)
def test_a_directory_that_leads_elsewhere_is_refused(directory, cause):
    assert problems(f'layers:\n- common\n- "{directory}"\n') == [f"config/layers.yaml:3: layers/1: {cause}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "config/layers.yaml:1: should be a mapping, not nothing"),
        ("[common]", "config/layers.yaml:1: should be a mapping, not a list"),
        ("{}", "config/layers.yaml:1: layers: is missing and must be given"),
        ("layers: []", "config/layers.yaml:1: layers: should list at least one directory"),
        ("layers: common", 'config/layers.yaml:1: layers: should be a list, not "common"'),
        ("layers: [common, common]", "config/layers.yaml:1: layers/1: stands twice"),
        ("layers: [[a]]", "config/layers.yaml:1: layers/0: should be a directory below config/, not a list"),
        (b"layers: [\xff]", "config/layers.yaml:1: is not valid UTF-8"),
    ],
)
def test_anything_else_is_refused(text, expected):
    assert problems(text) == [expected]


def test_all_problems_are_told_at_once():
    assert problems("layrs: 1\nlayers: [/a, ../b]\n") == [
        'config/layers.yaml:1: layrs: unknown key; did you mean "layers"?',
        'config/layers.yaml:2: layers/0: should be a directory below config/ such as modes/{mode}, not "/a"',
        'config/layers.yaml:2: layers/1: should be a directory below config/ such as modes/{mode}, not "../b"',
    ]
