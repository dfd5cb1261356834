import os
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bootstrap.box import Box
from bootstrap.definition import Process, Service
from bootstrap.errors import DefinitionError
from bootstrap.identity import Identity
from bootstrap.plan import Plan, Program
from bootstrap.variable import LONGEST, Layer, Reference, Setting
from bootstrap.world.config.layers import ORDER, read_layer, read_layering, read_layers, read_order


@pytest.fixture
def box(tmp_path):
    (tmp_path / "config/common").mkdir(parents=True)
    return Box(root=str(tmp_path), state=str(tmp_path / "state"))


@pytest.fixture
def common(box):
    return Path(box.config, "common")


def values(layer):
    return {key: setting.value for key, setting in layer.settings.items()}


def problem_of(box, directory="common"):
    with pytest.raises(DefinitionError) as caught:
        read_layer(box, directory)
    return str(caught.value)


def test_every_file_is_a_variable(box, common):
    (common / "LEVEL").write_bytes(b"info \nmore")
    (common / "GONE").write_bytes(b"")
    (common / "ODD").write_bytes(b"\xff\0x")
    assert read_layer(box, "common") == Layer(
        name="config/common",
        settings={
            "GONE": Setting(value=None, file="config/common/GONE"),
            "LEVEL": Setting(value="info", file="config/common/LEVEL"),
            "ODD": Setting(value="\udcff\nx", file="config/common/ODD"),
        },
    )


def test_dotfiles_and_directories_are_nobodys_variable(box, common):
    (common / ".LEVEL.swp").write_text("x")
    (common / ".gitignore").symlink_to("/nowhere")
    (common / "sub").mkdir()
    (common / "not-a-name").mkdir()
    (common / ".env").mkdir()
    assert values(read_layer(box, "common")) == {}


@pytest.mark.parametrize("directory", ["modes/review", "common/deeper/still", "elsewhere"])
def test_a_directory_that_is_not_there_is_an_empty_layer(box, directory):
    assert read_layer(box, directory) == Layer(name=f"config/{directory}", settings={})


def test_without_config_every_layer_is_empty_and_the_order_is_the_built_in_one(tmp_path):
    box = Box(root=str(tmp_path), state="/state")
    assert read_layer(box, "common") == Layer(name="config/common", settings={})
    assert read_order(box) == ORDER


def test_references_are_read_by_the_same_rules(box, common):
    (common / "TOKEN.ssm").write_bytes(b"/todo/token \n# note\n")
    (common / "PASSWORD.secret").write_bytes(b"prod/db#password")
    assert values(read_layer(box, "common")) == {
        "TOKEN": Reference(kind="ssm", text="/todo/token"),
        "PASSWORD": Reference(kind="secret", text="prod/db#password"),
    }
    assert read_layer(box, "common").settings["TOKEN"].file == "config/common/TOKEN.ssm"


def test_a_dotenv_file_is_weaker_than_the_files_beside_it(box, common):
    (common / ".env").write_text("A=dotenv\nexport B='dotenv $A' # note\nC=\nD=dotenv\nB=again\n")
    (common / "A").write_text("file")
    (common / "D").write_text("")
    layer = read_layer(box, "common")
    assert values(layer) == {"A": "file", "B": "again", "C": "", "D": None}
    assert layer.settings["B"].file == "config/common/.env"
    assert {key: setting.value for key, setting in layer.shadowed.items()} == {"A": "dotenv", "D": "dotenv"}


def test_a_dotenv_file_is_not_interpolated_and_may_hold_several_lines(box, common):
    (common / ".env").write_bytes(b'\n# note\r\nA="$HOME ${X}"\r\nB="one\r\ntwo\\nthree"\r\n')
    assert values(read_layer(box, "common")) == {"A": "$HOME ${X}", "B": "one\ntwo\nthree"}


def test_every_wrong_line_of_a_dotenv_file_is_named_and_none_is_told_back(box, common):
    (common / ".env").write_text(
        f"GOOD=1\n\nhunter2\nKEY.ssm=x\nPORT=80\nBOOTSTRAP_MODE=x\n'unfinished\nOPEN=\"open\nLONG={'x' * LONGEST}\n"
    )
    assert problem_of(box) == (
        "config/common/.env:3: should be like KEY=value, not without a =\n"
        "config/common/.env:4: what stands before = is no name for a variable; use letters, digits and _, no digit "
        "first\n"
        "config/common/.env:5: PORT is set by bootstrap alone; give the variable another name\n"
        "config/common/.env:6: BOOTSTRAP_MODE is set by bootstrap alone; give the variable another name\n"
        "config/common/.env:7: should be like KEY=value\n"
        "config/common/.env:8: should be like KEY=value, with the quote closed\n"
        "config/common/.env:9: LONG is longer than any program's environment can hold"
    )


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"A=1\nB=\xff\n", "2: is not valid UTF-8"),
        (b"A=1\0\n", "1: holds a NUL character"),
        (b"A=1\nB=x" + b" " * 1_000_000 + b"y", "2: holds 200 blanks in a row; keep it shorter"),
    ],
)
def test_a_dotenv_file_that_could_not_be_parsed_is_refused(box, common, content, cause):
    (common / ".env").write_bytes(content)
    assert problem_of(box) == f"config/common/.env:{cause}"


def test_links_are_refused_and_told_with_their_targets(box, common):
    (common / "real").mkdir()
    (common / "A").symlink_to("/etc/passwd")
    (common / "B").symlink_to("real")
    (common / "C").symlink_to("nowhere\n")
    (common / ".env").symlink_to("A")
    assert problem_of(box) == (
        'cannot read variable "A": it is a link to "/etc/passwd"\n'
        "  where: config/common/A\n"
        "  way out: put a regular file there\n"
        'cannot read variable "B": it is a link to "real"\n'
        "  where: config/common/B\n"
        "  way out: put a regular file there\n"
        'cannot read variable "C": it is a link to "nowhere\\n"\n'
        "  where: config/common/C\n"
        "  way out: put a regular file there\n"
        'cannot read variable ".env": it is a link to "A"\n'
        "  where: config/common/.env\n"
        "  way out: put a regular file there"
    )


@pytest.mark.parametrize(
    "name", ["1A", "A-B", "A B", "A=B", "ä", "A\nB", "README.md", "A.", "A.SSM", "A.ssm.secret", "\udcff", "A.env"]
)
def test_a_name_that_no_shell_can_use_is_refused(box, common, name):
    (common / name).write_text("x")
    shown = name if name.isprintable() else name.encode("unicode_escape").decode()
    assert problem_of(box) == (
        f'cannot read variable "{shown}": its name is no name for a variable\n'
        f"  where: config/common/{shown}\n"
        "  way out: use letters, digits and _, no digit first; .ssm or .secret for a reference"
    )


@pytest.mark.parametrize("name", ["LEVEL~", "TOKEN.ssm~"])
def test_an_editors_backup_is_refused_as_what_it_is(box, common, name):
    (common / name).write_text("x")
    assert problem_of(box) == (
        f'cannot read variable "{name}": it looks like an editor\'s backup\n'
        f"  where: config/common/{name}\n"
        "  way out: remove it, and let the editor keep its backups elsewhere"
    )


@pytest.mark.parametrize("name", ["PORT", "BOOTSTRAP_MODE", "BOOTSTRAP_X", "PORT.ssm"])
def test_what_bootstrap_sets_cannot_be_configured(box, common, name):
    (common / name).write_text("x")
    key = name.partition(".")[0]
    assert problem_of(box) == (
        f'cannot read variable "{name}": {key} is set by bootstrap alone\n'
        f"  where: config/common/{name}\n"
        "  way out: give the variable another name"
    )


@pytest.mark.parametrize(("first", "second"), [("A", "A.ssm"), ("A", "A.secret"), ("A.secret", "A.ssm")])
def test_a_variable_cannot_be_a_value_and_a_reference_at_once(box, common, first, second):
    (common / first).write_text("x")
    (common / second).write_text("x")
    assert problem_of(box) == (
        f'cannot read variable "{second}": {first} stands beside it\n'
        f"  where: config/common/{second}\n"
        "  way out: keep one of the two"
    )


@pytest.mark.parametrize("content", [b"", b"\n", b" \t\n/x"])
@pytest.mark.parametrize(
    ("kind", "what"), [("ssm", "name of an SSM parameter"), ("secret", "id of a secret in Secrets Manager")]
)
def test_a_reference_to_nothing_is_refused(box, common, content, kind, what):
    (common / f"A.{kind}").write_bytes(content)
    assert problem_of(box) == (
        f'cannot read variable "A.{kind}": it refers to nothing\n'
        f"  where: config/common/A.{kind}\n"
        f"  way out: write the {what} into it"
    )


@pytest.mark.parametrize("content", [b"/x\0", b"/x\x1b[2J", b"/\xff"])
def test_a_reference_that_is_no_plain_text_is_refused(box, common, content):
    (common / "A.ssm").write_bytes(content)
    assert problem_of(box) == (
        'cannot read variable "A.ssm": it holds characters that no reference has\n'
        "  where: config/common/A.ssm\n"
        "  way out: write the name of an SSM parameter into its first line, as plain text"
    )


def test_a_value_may_be_as_long_as_linux_allows_and_no_longer(box, common):
    (common / "KEY").write_bytes(b"x" * (LONGEST - 5))
    assert len(values(read_layer(box, "common"))["KEY"]) == LONGEST - 5
    (common / "KEY").write_bytes(b"x" * (LONGEST - 4))
    (common / "TAIL").write_bytes(b"x\n" + b"y" * LONGEST)
    expected = (
        'cannot read variable "{0}": it is larger than 128 KiB\n  where: config/common/{0}\n  way out: make it shorter'
    )
    assert problem_of(box) == f"{expected.format('KEY')}\n{expected.format('TAIL')}"


def test_a_dotenv_file_may_be_larger_than_a_variable_but_not_huge(box, common):
    (common / ".env").write_text("".join(f"K{number}={'x' * 1000}\n" for number in range(500)))
    assert len(read_layer(box, "common").settings) == 500
    (common / ".env").write_bytes(b"#" * (1024 * 1024 + 1))
    assert problem_of(box) == (
        'cannot read variable ".env": it is larger than 1024 KiB\n'
        "  where: config/common/.env\n"
        "  way out: make it shorter"
    )


def test_nothing_but_a_regular_file_is_read_or_waited_for(box, common):
    os.mkfifo(common / "FIFO")
    os.mkfifo(common / ".env")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(common)  # the path of a socket is short
        try:
            listener.bind("SOCKET")
        finally:
            os.chdir(here)
        found = problem_of(box)
    expected = (
        'cannot read variable "{0}": it is no regular file\n'
        "  where: config/common/{0}\n"
        "  way out: put a regular file there"
    )
    assert found == "\n".join(expected.format(name) for name in ("FIFO", "SOCKET", ".env"))


@pytest.fixture
def nobody():
    """Permissions mean something: root would read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_box():
    """A box that everybody can reach; pytest's own directories are root's."""
    with tempfile.TemporaryDirectory() as root:
        Path(root).chmod(0o755)
        Path(root, "config/common").mkdir(parents=True)
        Path(root, "config/shut").mkdir()
        yield Box(root=root, state=f"{root}/state")


def test_what_cannot_be_read_is_named(open_box, request):
    config = Path(open_box.config)
    for name in ("A", "B", ".env"):
        (config / "common" / name).write_text("x")
        (config / "common" / name).chmod(0 if name != "B" else 0o644)
    (config / "shut").chmod(0)
    request.getfixturevalue("nobody")
    with pytest.raises(DefinitionError) as caught:
        read_layers(open_box, ["common", "shut"])
    assert str(caught.value) == (
        'cannot read variable "A": Permission denied\n'
        "  where: config/common/A\n"
        "  way out: let the user that runs bootstrap read it\n"
        'cannot read variable ".env": Permission denied\n'
        "  where: config/common/.env\n"
        "  way out: let the user that runs bootstrap read it\n"
        'cannot read layer "config/shut": Permission denied\n'
        "  way out: make it a directory that bootstrap may read, one file per variable, or remove it"
    )


def test_a_layer_that_is_a_file_or_a_link_is_refused_wherever_it_is_on_the_way(box):
    config = Path(box.config)
    (config / "file").write_text("x")
    (config / "link").symlink_to("common")
    (config / "common/below").mkdir()
    os.mkfifo(config / "fifo")
    way_out = "\n  way out: make it a directory that bootstrap may read, one file per variable, or remove it"
    with pytest.raises(DefinitionError) as caught:
        read_layers(box, ["file", "link", "link/below", "file/below", "fifo"])
    assert str(caught.value) == "\n".join(
        [
            f'cannot read layer "config/file": it is no directory{way_out}',
            f'cannot read layer "config/link": it is a link to "common"{way_out}',
            f'cannot read layer "config/fifo": it is no directory{way_out}',
        ]
    )


def test_config_that_is_no_directory_is_refused(tmp_path):
    (tmp_path / "config").write_text("x")
    assert problem_of(Box(root=str(tmp_path), state="/state")) == (
        'cannot read layer "config": Not a directory\n'
        "  way out: make it a directory that bootstrap may read, one file per variable, or remove it"
    )


def test_the_problems_of_all_layers_are_told_at_once(box, common):
    (common / "A-B").write_text("x")
    (common / "PORT").write_text("x")
    other = Path(box.config, "modes/review")
    other.mkdir(parents=True)
    (other / ".env").write_text("x")
    with pytest.raises(DefinitionError) as caught:
        read_layers(box, ["common", "modes/review", "common"])
    assert [problem.splitlines()[0] for problem in caught.value.problems] == [
        'cannot read variable "A-B": its name is no name for a variable',
        'cannot read variable "PORT": PORT is set by bootstrap alone',
        "config/modes/review/.env:1: should be like KEY=value, not without a =",
    ]


def test_the_order_can_be_given(box):
    Path(box.config, "layers.yaml").write_text('layers: [common, "{service}"]\n')
    assert read_order(box) == ("common", "{service}")


def test_a_wrong_order_is_refused_with_its_line(box):
    Path(box.config, "layers.yaml").write_text("layers:\n- /etc\n")
    with pytest.raises(DefinitionError) as caught:
        read_order(box)
    assert str(caught.value) == (
        'config/layers.yaml:2: layers/0: should be a directory below config/ such as modes/{mode}, not "/etc"'
    )


def test_an_order_that_is_a_link_is_refused(box):
    Path(box.config, "layers.yaml").symlink_to("/etc/passwd")
    with pytest.raises(DefinitionError) as caught:
        read_order(box)
    assert str(caught.value) == (
        'cannot read the order of layers: it is a link to "/etc/passwd"\n'
        "  where: config/layers.yaml\n"
        "  way out: put a regular file there"
    )


def test_a_plan_reads_the_layers_of_its_programs_and_no_others(box, common):
    (common / "A").write_text("a")
    mine, other = Path(box.config, "services/api/review"), Path(box.config, "services/web/review")
    for directory in (mine, other):
        directory.mkdir(parents=True)
    (mine / "B").write_text("b")
    (other / "not-a-name").write_text("")
    process = Process(name="web", command="x")
    service = Service(name="api", file="services/api/service.yaml", folder="/x", processes={"web": process})
    program = Program(name="api-web", service=service, process=process, instance=1, port=None, wave=0)
    plan = Plan(identity=Identity(mode="review", scale={}, refs={}, tags=()), programs=(program,))
    layering = read_layering(box, plan)
    assert layering.order == ORDER
    assert {name: values(layer) for name, layer in layering.layers.items()} == {
        "common": {"A": "a"},
        "modes/review": {},
        "services/api/common": {},
        "services/api/review": {"B": "b"},
    }


def test_no_descriptor_is_left_open(box, common):
    (common / "A").write_text("a")
    (common / "B").symlink_to("A")
    Path(box.config, "x/y").mkdir(parents=True)
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        problem_of(box)
        read_layers(box, ["x/y", "x/none", "none"])
    assert os.listdir("/proc/self/fd") == before


def test_dotenv_is_imported_only_for_a_dotenv_file(box, common):
    (common / "A").write_text("a")
    code = (
        "import sys; from bootstrap.box import Box; from bootstrap.world.config.layers import read_layer, read_order;"
        f"box = Box(root={box.root!r}, state=''); read_layer(box, 'common'); read_order(box);"
        "print([name for name in ('dotenv', 'yaml', 'boto3') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), name=st.sampled_from([".env", "A", "A.ssm", "layers.yaml"]))
def test_any_content_is_a_layer_or_a_refusal(box, common, content, name):
    file = Path(box.config, name) if name == "layers.yaml" else common / name
    file.write_bytes(content)
    with suppress(DefinitionError):
        read_layer(box, "common")
    with suppress(DefinitionError):
        read_order(box)
    file.unlink()
