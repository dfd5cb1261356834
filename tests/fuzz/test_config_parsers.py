"""Whatever a configuration repository or an export holds: our own error or a value, never another exception."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from bootstrap.box import Box
from bootstrap.config.clear_text import find_secret
from bootstrap.config.config_vars import parse_config_vars
from bootstrap.config.dotenv_file import parse_secrets
from bootstrap.config.exports import FORMATS, render_export
from bootstrap.config.finding import RULES
from bootstrap.config.guard import hosts_in
from bootstrap.config.importing import refuse_lossy
from bootstrap.config.layer_order import parse_layers_file
from bootstrap.config.lint import lint_repository
from bootstrap.errors import BootstrapError
from bootstrap.reading.problem import FlawedError
from bootstrap.rules import judge_values, parse_rules
from bootstrap.variable import Variable
from bootstrap.world.config.repository import read_repository
from support.mutation import examples, mutated

SCHEMA = b"A: {required: [api], type: url, secret: true, allowed: ['x:y'], description: x}\nB: {type: integer}\nC:\n"
LAYERS = (
    b"layers: [common, 'modes/{mode}']\nguard: {review: {against: [production], hosts: ['*.x'], secrets: [/p/*]}}\n"
)
VARS = b'{"A": "x\\ny", "B": "\\ud83d\\ude42", "C": "1"}'
SECRETS = b"ssm:/a=x\n'secret:b#c'=\"y\"\nsecret:d={}\n"


@given(content=mutated(SCHEMA), value=st.text(max_size=30))
@examples(300)
def test_schemas(content, value):
    try:
        rules = parse_rules(content)
    except FlawedError:
        return
    list(
        judge_values(
            rules, {key: Variable(key, value, secret=False, layer="config/x", file="config/x/A") for key in rules}
        )
    )


@given(content=mutated(LAYERS))
@examples(200)
def test_layers_files(content):
    try:
        assert parse_layers_file(content).order
    except FlawedError:
        return


@given(content=mutated(VARS))
@examples(300)
def test_config_vars(content):
    try:
        values = parse_config_vars(content)
        refuse_lossy(values)
    except (FlawedError, BootstrapError):
        return
    assert all(value.encode() is not None for value in values.values())


@given(content=mutated(SECRETS))
@examples(200)
def test_local_secrets(content):
    try:
        assert all(key.startswith(("ssm:", "secret:")) for key in parse_secrets(content))
    except FlawedError:
        return


@given(key=st.text(max_size=20), value=st.text(max_size=80))
@examples(500)
def test_values(key, value):
    find_secret(key, value)
    list(hosts_in(value))


@given(
    form=st.sampled_from(FORMATS),
    values=st.dictionaries(st.sampled_from("ABC"), st.text(st.characters(exclude_characters="\0"), max_size=20)),
)
@examples(300)
def test_exports(form, values):
    with contextlib.suppress(BootstrapError):
        assert isinstance(render_export(form, values), str)


NAMES = st.sampled_from(
    ["common/A", "common/.env", "modes/review/B.ssm", "modes/x/C", "schema.yaml", "layers.yaml", "modes"]
)


@given(files=st.dictionaries(NAMES, mutated(SCHEMA, LAYERS, VARS, b"value\n", b""), max_size=5))
@examples(150)
def test_repositories(files, tmp_path_factory):
    root = tmp_path_factory.mktemp("repository")
    (root / "services/api").mkdir(parents=True)
    (root / "services/api/service.yaml").write_text("requires: [A]\nprocesses: {web: {command: x}}\n")
    for name, content in files.items():
        path = root / "config" / name
        if not any(above.is_file() for above in path.parents) and not path.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    try:
        repository, unreadable = read_repository(Box(root=str(root), state=str(root)))
    except BootstrapError:
        return
    findings = [*unreadable, *lint_repository(repository)]
    assert all(finding.rule in RULES and finding.text and finding.way_out for finding in findings)
