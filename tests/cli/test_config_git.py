"""`config explain|list|diff|impact|history|set|unset|edit` on real git repositories."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess

import pytest

from support.repository import begin, commit, git

MASK = "••••••"


def explain(sandbox, key, *words):
    return json.loads(sandbox.run("config", "explain", key, "--json", *words, tags=()).stdout)


def origin_of(layers, file):
    (layer,) = [layer for layer in layers if layer["file"] == file]
    return {name: layer.get(name) for name in ("commit", "author", "date", "subject", "uncommitted")}


def tree(sandbox):
    """Everything that a failed edit must leave alone."""
    files = {p: p.read_bytes() for p in sorted((sandbox.root / "config").rglob("*")) if p.is_file()}
    return files, git(sandbox.root, "rev-parse", "HEAD"), git(sandbox.root, "status", "--porcelain")


def test_explain_tells_who_set_each_layer_and_what_nobody_has_committed(sandbox):
    first = begin(sandbox)
    sandbox.config("services/api/review/LOG_LEVEL", "debug")
    second = commit(sandbox.root, "Look for the leak", "2026-03-04T05:06:07Z", "Grace")
    sandbox.config("modes/review/LOG_LEVEL", "warning")
    layers = explain(sandbox, "LOG_LEVEL", "--mode", "review", "--service", "api")["layers"]
    assert [layer["file"] for layer in layers] == [
        "config/common/LOG_LEVEL",
        "config/modes/review/LOG_LEVEL",
        "config/services/api/review/LOG_LEVEL",
    ]
    assert [layer["wins"] for layer in layers] == [False, False, True]
    assert origin_of(layers, "config/common/LOG_LEVEL") == {
        "commit": first, "author": "Ada", "date": "2026-01-02T03:04:05+00:00", "subject": "Begin", "uncommitted": None,
    }  # fmt: skip
    assert origin_of(layers, "config/services/api/review/LOG_LEVEL")["commit"] == second
    assert origin_of(layers, "config/modes/review/LOG_LEVEL")["uncommitted"] is True
    shown = sandbox.run("config", "explain", "LOG_LEVEL", "--mode", "review", "--service", "api", tags=()).stdout
    assert f"{second[:10]} 2026-03-04 Grace: Look for the leak" in shown
    assert "not committed yet" in shown


def test_a_line_of_a_dotenv_file_is_blamed_on_whoever_wrote_it(sandbox):
    begin(sandbox)
    (sandbox.root / "config/common/.env").write_text("A=1\nB=1\n")
    wrote = commit(sandbox.root, "Add A and B")
    (sandbox.root / "config/common/.env").write_text("A=1\nB=2\n")
    commit(sandbox.root, "Raise B")
    (sandbox.root / "config/common/.env").write_text("A=1\nB=3\n")
    words = ("--mode", "review", "--service", "api")
    assert origin_of(explain(sandbox, "A", *words)["layers"], "config/common/.env")["commit"] == wrote
    assert origin_of(explain(sandbox, "B", *words)["layers"], "config/common/.env")["uncommitted"] is True


def test_merges_renames_and_reverts(sandbox):
    begin(sandbox)
    root = sandbox.root
    git(root, "switch", "-qc", "topic")
    sandbox.config("common/TOPIC", "1")
    topic = commit(root, "On the topic branch", author="Grace")
    git(root, "switch", "-q", "main")
    sandbox.config("common/MAIN", "1")
    commit(root, "On main")
    git(root, "merge", "-q", "--no-ff", "-m", "Merge topic", "topic")
    git(root, "mv", "config/common/MAIN", "config/common/RENAMED")
    renamed = commit(root, "Rename MAIN")
    sandbox.config("common/LOG_LEVEL", "trace")
    commit(root, "A mistake")
    git(root, "revert", "--no-edit", "HEAD")
    words = ("--mode", "review", "--service", "api")
    found = {key: explain(sandbox, key, *words)["layers"][-1] for key in ("TOPIC", "RENAMED", "LOG_LEVEL")}
    assert found["TOPIC"]["commit"] == topic, "not the merge: somebody wrote it"
    assert found["RENAMED"]["commit"] == renamed
    assert (found["LOG_LEVEL"]["value"], found["LOG_LEVEL"]["subject"]) == ("info", 'Revert "A mistake"')


def test_a_shallow_clone_knows_its_last_commits(sandbox, tmp_path):
    begin(sandbox)
    sandbox.config("common/NEW", "1")
    last = commit(sandbox.root, "Last")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{sandbox.root}", str(clone))
    words = ["--root", str(clone), "config", "explain", "NEW", "--json", "--mode", "review", "--service", "api"]
    assert json.loads(sandbox.run(*words, tags=()).stdout)["layers"][-1]["commit"] == last
    done = sandbox.run("--root", str(clone), "config", "impact", "HEAD~1", tags=(), code=2)
    assert done.stderr == (
        f'error: cannot find revision "HEAD~1": no such commit in {clone} '
        "(this is a shallow clone: older commits are not here)\n"
        "  way out: name a branch, a tag or a commit; git log shows them\n"
    )


def test_without_git_history_explain_works_and_the_rest_says_what_is_missing(sandbox):
    sandbox.sleeper("api")
    sandbox.config("common/A", "1")
    assert "commit" not in explain(sandbox, "A", "--mode", "review")["layers"][0]
    done = sandbox.run("config", "impact", tags=(), code=2)
    assert done.stderr == (
        f'error: cannot look into the past of "{sandbox.root}/config": it is in no git repository\n'
        "  way out: git init, and commit what is there\n"
    )


def test_list_with_provenance(sandbox):
    first = begin(sandbox)
    words = ("config", "list", "--provenance", "--mode", "review", "--service", "api")
    (program,) = sandbox.run(*words, "--json", tags=()).json["programs"]
    (variable,) = [variable for variable in program["variables"] if variable["key"] == "LOG_LEVEL"]
    assert (variable["commit"], variable["author"]) == (first, "Ada")
    assert f"{first[:10]} 2026-01-02 Ada: Begin" in sandbox.run(*words, tags=()).stdout


def test_impact_names_programs_modes_and_the_reasons_of_plan(sandbox):
    begin(sandbox)
    sandbox.config("services/api/review/LOG_LEVEL", "debug")
    sandbox.config("modes/staging/EXTRA", "1")
    done = sandbox.run("config", "impact", tags=())
    assert done.stdout.splitlines() == [
        (
            "replace api-web  in review: LOG_LEVEL has changed (config/services/api/review/LOG_LEVEL, before in"
            " config/common/LOG_LEVEL)"
        ),
        "replace api-web  in staging: EXTRA is set (config/modes/staging/EXTRA)",
        "replace web-web  in staging: EXTRA is set (config/modes/staging/EXTRA)",
    ]
    impacts = sandbox.run("config", "impact", "--json", tags=()).json["impacts"]
    assert [(one["mode"], one["service"], one["program"], one["action"]) for one in impacts] == [
        ("review", "api", "api-web", "replace"),
        ("staging", "api", "api-web", "replace"),
        ("staging", "web", "web-web", "replace"),
    ]
    commit(sandbox.root, "Now it is")
    assert sandbox.run("config", "impact", tags=()).stdout == "restarts nothing anywhere\n"
    assert "EXTRA is set" in sandbox.run("config", "impact", "HEAD~1", tags=()).stdout


def test_moving_a_value_to_another_layer_restarts_nothing(sandbox):
    begin(sandbox)
    sandbox.run("up")
    before = sandbox.pids()
    (sandbox.root / "config/common/LOG_LEVEL").unlink()
    sandbox.config("modes/review/LOG_LEVEL", "info")
    assert "in review" not in sandbox.run("config", "impact", tags=()).stdout
    sandbox.run("up")
    assert sandbox.pids() == before


def test_diff_between_revisions_modes_services_and_the_box(sandbox):
    begin(sandbox)
    sandbox.run("up")
    sandbox.config("services/api/common/PASSWORD", "hunter2-new")
    sandbox.config("modes/production/LOG_LEVEL", "error")
    sandbox.config("services/web/common/ONLY_WEB", "1")
    shown = sandbox.run("config", "diff", "--mode", "review", tags=()).stdout
    assert "hunter2" not in shown
    assert f"~ PASSWORD  {MASK} (" in shown
    assert "+ ONLY_WEB  1  (config/services/web/common/ONLY_WEB)" in shown
    assert "hunter2-old → hunter2-new" in sandbox.run("config", "diff", "--reveal", tags=()).stdout
    modes = sandbox.run("config", "diff", "--modes", "review,production", "--service", "api", tags=()).stdout
    assert "~ LOG_LEVEL  info → error  (config/modes/production/LOG_LEVEL)" in modes
    services = sandbox.run("config", "diff", "--services", "api,web", "--mode", "review", "--json", tags=()).json
    (program,) = services["programs"]
    assert program["program"] == "web in review"
    assert {change["key"]: change["kind"] for change in program["changes"]}["PASSWORD"] == "removed"
    box = sandbox.run("config", "diff", "--box", "--json", tags=()).json["programs"]
    assert {one["program"]: [change["key"] for change in one["changes"]] for one in box} == {
        "api-web": ["PASSWORD"],
        "web-web": ["ONLY_WEB"],
    }
    done = sandbox.run("config", "diff", "--modes", "review,prodction", tags=(), code=2)
    assert done.stderr == (
        'error: cannot compare mode "prodction": no such mode; did you mean "production"?'
        " (development, production, review, staging)\n"
    )


def test_history_of_a_variable_and_of_all(sandbox):
    begin(sandbox)
    sandbox.config("common/LOG_LEVEL", "debug")
    commit(sandbox.root, "Say more", author="Grace")
    (sandbox.root / "config/common/LOG_LEVEL").unlink()
    (sandbox.root / "config/common/.env").write_text("LOG_LEVEL=error\n")
    commit(sandbox.root, "Move it")
    edits = sandbox.run("config", "history", "LOG_LEVEL", "--json", tags=()).json["edits"]
    assert [(edit["subject"], edit["file"], edit["before"], edit["after"]) for edit in edits] == [
        ("Move it", "config/common/.env", None, "error"),
        ("Move it", "config/common/LOG_LEVEL", "debug", None),
        ("Say more", "config/common/LOG_LEVEL", "info", "debug"),
        ("Begin", "config/common/LOG_LEVEL", None, "info"),
    ]
    every = sandbox.run("config", "history", tags=()).stdout
    assert f"PASSWORD: (not set) → {MASK}" in every
    assert "hunter2" not in every
    done = sandbox.run("config", "history", "NOPE", tags=(), code=2)
    assert done.stderr.startswith('error: cannot show the history of "NOPE": no commit has touched it\n')


def test_set_writes_the_one_file_says_the_impact_and_commits_without_the_value(sandbox):
    begin(sandbox)
    sandbox.config("common/STAGED", "by somebody")
    git(sandbox.root, "add", "config/common/STAGED")
    words = ("config", "set", "PASSWORD=hunter3", "A=it's me", "--service", "api", "--mode", "review", "-m", "rotate")
    done = sandbox.run(*words, tags=())
    head = git(sandbox.root, "rev-parse", "HEAD")
    assert done.stdout.splitlines() == [
        "replace api-web  in review: A is set (config/services/api/review/A)",
        (
            "                 PASSWORD has changed (config/services/api/review/PASSWORD, before in"
            " config/services/api/common/PASSWORD)"
        ),
        (
            "warning: probably secret, and in clear text: PASSWORD; take the commit back before anybody has it, and refer "
            "to a store with NAME.ssm or NAME.secret"
        ),
        f"committed {head[:10]}: Set PASSWORD, A in services/api/review",
        'what runs goes on as it is: "bootstrap up" applies it',
    ]
    assert (sandbox.root / "config/services/api/review/A").read_text() == "it's me\n"
    assert git(sandbox.root, "log", "-1", "--format=%B") == "Set PASSWORD, A in services/api/review\n\nrotate"
    assert git(sandbox.root, "show", "--name-only", "--format=", "HEAD").split() == [
        "config/services/api/review/A",
        "config/services/api/review/PASSWORD",
    ]
    assert git(sandbox.root, "status", "--porcelain") == "A  config/common/STAGED", "what others staged stays staged"


def test_set_from_a_file_from_standard_input_and_unset(sandbox, tmp_path):
    begin(sandbox)
    (tmp_path / "key.pem").write_text("-----BEGIN-----\nabc\n-----END-----\n")
    sandbox.run("config", "set", f"PEM=@{tmp_path}/key.pem", "--common", tags=())
    assert (sandbox.root / "config/common/PEM").read_bytes() == b"-----BEGIN-----\0abc\0-----END-----\n"
    done = subprocess.run(
        sandbox.words("config", "set", "TYPED=-", "--common", tags=()), input=b"from stdin\n", env=sandbox.environ,
        cwd=sandbox.root, capture_output=True, check=True,
    )  # fmt: skip
    assert b"TYPED is set" in done.stdout
    assert (sandbox.root / "config/common/TYPED").read_text() == "from stdin\n"
    sandbox.run("config", "unset", "TYPED", "--common", tags=())
    assert not (sandbox.root / "config/common/TYPED").exists()
    assert git(sandbox.root, "status", "--porcelain") == ""


def test_setting_what_is_so_already_commits_nothing(sandbox):
    begin(sandbox)
    before = tree(sandbox)
    done = sandbox.run("config", "set", "LOG_LEVEL=info", "--common", tags=())
    assert done.stdout == "nothing has changed: this layer says so already\n"
    assert sandbox.run("config", "set", "LOG_LEVEL=info", "--common", "--json", tags=()).json["commit"] is None
    assert tree(sandbox) == before


def test_a_commit_names_whom_the_repository_names(sandbox):
    begin(sandbox)
    git(sandbox.root, "config", "user.name", "Lin")
    git(sandbox.root, "config", "user.email", "lin@example.com")
    sandbox.run("config", "set", "LOG_LEVEL=debug", "--common", tags=())
    assert git(sandbox.root, "log", "-1", "--format=%an <%ae> %cn") == "Lin <lin@example.com> Lin"


def test_set_and_apply(sandbox):
    begin(sandbox)
    sandbox.run("up")
    sandbox.run("config", "set", "LOG_LEVEL=debug", "--service", "api", "--up")
    assert sandbox.environ_of(sandbox.pids()["api-web"])[b"LOG_LEVEL"] == b"debug"


def detach(sandbox):
    git(sandbox.root, "switch", "-q", "--detach")


def merging(sandbox):
    (sandbox.root / ".git/MERGE_HEAD").write_text(git(sandbox.root, "rev-parse", "HEAD") + "\n")


def dirty(sandbox):
    sandbox.config("common/LOG_LEVEL", "edited")


def linked(sandbox):
    (sandbox.root / "config/services/web").symlink_to("api")
    commit(sandbox.root, "A link")


REFUSED = {
    "detached": (
        ["LOG_LEVEL=x", "--common"], detach,
        "cannot commit to {root}: no branch is checked out, so the commit would be lost\n  way out: git switch BRANCH",
    ),
    "merging": (
        ["LOG_LEVEL=x", "--common"], merging,
        "cannot commit to {root}: a merge is under way\n  way out: finish it, or abort it",
    ),
    "dirty": (
        ["LOG_LEVEL=x", "--common"], dirty,
        ("cannot write config/common/LOG_LEVEL: it has changes that nobody has committed\n"
        "  way out: commit them, or git checkout the file"),
    ),
    "trailing blank": (
        ["A=x ", "--common"], None,
        ("cannot set A: a layer file loses blanks and tabs at its end\n"
        '  way out: write A="…" with its quotes into config/common/.env by hand; then commit it\n'),
    ),
    "trailing blank over a file": (
        ["LOG_LEVEL=x\t", "--common"], None,
        ("cannot set LOG_LEVEL: a layer file loses blanks and tabs at its end\n"
        '  way out: write LOG_LEVEL="…" with its quotes into config/common/.env by hand, and remove '
        "config/common/LOG_LEVEL, which is stronger; then commit it\n"),
    ),
    "trailing blank that no .env holds": (
        ["A=" + 200 * " ", "--common"], None,
        ("cannot set A: a layer file loses blanks and tabs at its end, and no .env can hold this value\n"
        "  way out: encode it\n"),
    ),
    "too long": (
        ["A=@{long}", "--common"], None,
        ("cannot set A: no program can be started with a value of more than 128 KiB\n"
        "  way out: keep it in a file, and set the variable to the file's path\n"),
    ),
    "empty file": (
        ["A=@/dev/null", "--common"], None,
        'cannot set A: "/dev/null" is empty\n  way out: A= sets it to the empty text\n',
    ),
    "reserved": (
        ["PORT=1", "--common"], None,
        "cannot set PORT: bootstrap alone sets it\n  way out: give the variable another name",
    ),
    "name": (["a-b=1", "--common"], None, 'cannot set "a-b": a name is letters, digits and underscores, no digit first'),
    "no value": (["A", "--common"], None, 'cannot set "A": should be KEY=VALUE, KEY=@FILE or KEY=-'),
    "service": (["A=1", "--service", "apj"], None, 'cannot use service "apj": no such service; did you mean "api"?'),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_and_leaves_the_tree_as_it_was(sandbox, case, tmp_path):
    begin(sandbox)
    words, prepare, message = REFUSED[case]
    (tmp_path / "long").write_text("x" * 128 * 1024)
    words = [word.format(long=tmp_path / "long") for word in words]
    if prepare is not None:
        prepare(sandbox)
    before = tree(sandbox)
    done = sandbox.run("config", "set", *words, tags=(), code=2)
    assert done.stderr.startswith("error: " + message.format(root=sandbox.root)), done.stderr
    assert tree(sandbox) == before


def test_a_set_that_breaks_an_environment_is_taken_back(sandbox):
    begin(sandbox)
    (sandbox.root / "config/schema.yaml").write_text("keys:\n  LOG_LEVEL: {allowed: [info, debug]}\n")
    commit(sandbox.root, "A schema")
    before = tree(sandbox)
    (sandbox.root / "config/common/BROKEN").symlink_to("LOG_LEVEL")
    done = sandbox.run("config", "set", "A=1", "--common", tags=(), code=2)
    assert "BROKEN" in done.stderr
    (sandbox.root / "config/common/BROKEN").unlink()
    assert tree(sandbox) == before


def test_an_empty_value_is_set_and_is_not_removed(sandbox):
    begin(sandbox)
    sandbox.run("config", "set", "LOG_LEVEL=", "--common", tags=())
    assert (sandbox.root / "config/common/LOG_LEVEL").read_bytes() == b"\n"
    (program,) = sandbox.run("config", "list", "--json", "--mode", "review", "--service", "api", tags=()).json[
        "programs"
    ]
    assert [one["value"] for one in program["variables"] if one["key"] == "LOG_LEVEL"] == [""]


STRIPE = "sk_" + "live_" + "51Hq9pT2eZvKYlo2CkX3mBw7Ur"  # of the form, and nobody's
LEVEL = (
    "cannot {verb} LOG_LEVEL: it should be one of debug, info, and would not be in {modes}\n"
    "  where: {file} (config/schema.yaml:1)\n"
    "  way out: give it such a value, or change the rule first\n"
)
EVERYWHERE = "development, review, staging, production"
WORSE = {
    "not allowed": (
        ["set", "LOG_LEVEL=loud", "--common"],
        LEVEL.format(verb="set", modes=EVERYWHERE, file="config/common/LOG_LEVEL"),
    ),
    "not allowed in one mode": (
        ["set", "LOG_LEVEL=loud", "--service", "api", "--mode", "staging"],
        LEVEL.format(verb="set", modes="staging", file="config/services/api/staging/LOG_LEVEL"),
    ),
    "several": (
        ["set", "POOL=many", "LOG_LEVEL=loud", "--mode", "production"],
        LEVEL.format(verb="set", modes="production", file="config/modes/production/LOG_LEVEL")
        + "cannot set POOL: it should be an integer, and would not be in production\n"
        "  where: config/modes/production/POOL (config/schema.yaml:2)\n"
        "  way out: give it such a value, or change the rule first\n",
    ),
    "what is below is not allowed": (
        ["unset", "LOG_LEVEL", "--service", "web", "--mode", "review"],
        LEVEL.format(verb="unset", modes="review", file="config/modes/review/LOG_LEVEL"),
    ),
    "what its own .env says is not allowed": (
        ["unset", "LOG_LEVEL", "--mode", "staging"],
        LEVEL.format(verb="unset", modes="staging", file="config/modes/staging/.env"),
    ),
    "required": (
        ["unset", "NEEDED", "--mode", "review"],
        ("cannot unset NEEDED: web requires it, and would have none in review\n"
        "  where: config/schema.yaml:3\n"
        "  way out: set it in another layer of web first, or stop requiring it\n"),
    ),
}  # fmt: skip


@pytest.fixture
def ruled(sandbox):
    """With a schema; `loud` stands in review, where only `web` lies over it, and so it stays told by lint."""
    begin(sandbox)
    (sandbox.root / "config/schema.yaml").write_text(
        "LOG_LEVEL: {allowed: [debug, info]}\nPOOL: {type: integer}\nNEEDED: {required: [web]}\nFREE_TOKEN: {secret: false}\n"
    )
    sandbox.config("modes/review/NEEDED", "1")
    sandbox.config("modes/review/POOL", "many")
    commit(sandbox.root, "A schema")
    return sandbox


@pytest.mark.parametrize("case", WORSE)
def test_what_would_newly_break_the_schema_is_refused_before_it_is_written(ruled, case):
    """It was committed, and `up` refused it."""
    words, message = WORSE[case]
    if case == "what is below is not allowed":
        ruled.config("modes/review/LOG_LEVEL", "loud")
        ruled.config("services/web/review/LOG_LEVEL", "info")
        commit(ruled.root, "Loud, but for web")
    if case == "what its own .env says is not allowed":
        ruled.config("modes/staging/.env", "LOG_LEVEL=loud")
        ruled.config("modes/staging/LOG_LEVEL", "info")
        commit(ruled.root, "Loud below")
    before = tree(ruled)
    done = ruled.run("config", *words, tags=(), code=2)
    assert (done.stdout, done.stderr) == ("", "error: " + message)
    assert tree(ruled) == before


def test_what_is_broken_already_may_be_mended_in_steps(ruled):
    ruled.run("config", "set", "POOL=a lot", "OTHER=1", "--mode", "review", tags=())
    ruled.run("config", "set", "FIRST=1", "--mode", "staging", tags=())  # which lacks NEEDED, and did so before


def test_a_probable_secret_in_clear_text_is_told(ruled):
    done = ruled.run("config", "set", f"API_TOKEN={STRIPE}", "--common", tags=())
    assert done.stdout.splitlines()[-3] == (
        "warning: probably secret, and in clear text: API_TOKEN; take the commit back before anybody has it, and refer "
        "to a store with NAME.ssm or NAME.secret"
    )
    done = ruled.run("config", "set", f"API_TOKEN={STRIPE}", "--mode", "review", "--json", tags=())
    assert done.json["clear_text"] == ["API_TOKEN"]
    done = ruled.run("config", "set", f"FREE_TOKEN={STRIPE}", "--common", "--json", tags=())
    assert done.json["clear_text"] == []


def test_a_value_that_something_stronger_lies_over_breaks_nothing(ruled):
    for mode in ("development", "review", "staging", "production"):
        ruled.config(f"modes/{mode}/LOG_LEVEL", "debug")
    commit(ruled.root, "Say it for every mode")
    assert "LOG_LEVEL" in ruled.run("config", "set", "LOG_LEVEL=loud", "--common", tags=()).stdout


def test_where_something_stronger_lies_over_a_value_it_is_told(sandbox):
    begin(sandbox)
    sandbox.config("modes/review/GREETING", "hello")
    commit(sandbox.root, "Greet in review")
    done = sandbox.run("config", "set", "GREETING=hallo", "OTHER=1", "--service", "api", "--mode", "review", tags=())
    assert "stays as it is" not in done.stdout
    done = sandbox.run("config", "set", "GREETING=moin", "OTHER=2", "--common", tags=())
    assert [line for line in done.stdout.splitlines() if "stays as it is" in line] == [
        "GREETING stays as it is for api in review: config/services/api/review/GREETING is stronger",
        "OTHER stays as it is for api in review: config/services/api/review/OTHER is stronger",
        "GREETING stays as it is for web in review: config/modes/review/GREETING is stronger",
    ]


def test_unset_names_the_file_that_has_to_be_edited_by_hand(sandbox):
    begin(sandbox)
    sandbox.config("common/.env", "BASE=1")
    sandbox.config("common/KEPT.ssm", "/todo/kept")
    commit(sandbox.root, "More")
    before = tree(sandbox)
    assert sandbox.run("config", "unset", "BASE", "--common", tags=(), code=2).stderr == (
        "error: cannot unset BASE: this layer has no file of that name, but a .env that sets it\n"
        "  where: config/common/.env\n"
        "  way out: remove its line there by hand, and commit that\n"
    )
    assert sandbox.run("config", "unset", "KEPT", "--common", tags=(), code=2).stderr == (
        "error: cannot unset KEPT: KEPT.ssm stands there, which refers to a secret\n"
        "  where: config/common/KEPT.ssm\n"
        "  way out: git rm that file, or edit it\n"
    )
    assert tree(sandbox) == before


def test_edit_opens_the_layer_as_text_and_shows_which_keys_change(sandbox, tmp_path):
    begin(sandbox)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\ncp "$1" "$SEEN"\nsed -i "s/info/debug/; /^#/d" "$1"\necho \'NEW="a b"\' >> "$1"\n')
    editor.chmod(0o755)
    seen = tmp_path / "seen"
    environ = {"EDITOR": str(editor), "SEEN": str(seen)}
    done = sandbox.run("config", "edit", "--common", "--yes", tags=(), environ=environ)
    assert seen.read_text().splitlines()[1:] == ['LOG_LEVEL="info"']
    assert done.stdout.splitlines()[:2] == ["~ LOG_LEVEL", "+ NEW"]
    assert (sandbox.root / "config/common/NEW").read_text() == "a b\n"
    assert git(sandbox.root, "log", "-1", "--format=%s") == "Edit LOG_LEVEL, NEW in common"


@pytest.mark.parametrize("editor", ["false", "/nonexistent/editor"])
def test_an_editor_that_fails_is_named_and_nothing_is_written(sandbox, editor):
    begin(sandbox)
    before = tree(sandbox)
    done = sandbox.run("config", "edit", "--common", tags=(), code=2, environ={"EDITOR": editor})
    assert done.stderr == (
        f'error: cannot edit common: the editor "{editor}" cannot be run, or has failed; nothing has been written\n'
        "  way out: name one that works in $VISUAL or $EDITOR\n"
    )
    assert tree(sandbox) == before


def test_an_edit_that_is_not_confirmed_is_dropped(sandbox, tmp_path):
    begin(sandbox)
    before = tree(sandbox)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho NEW=1 >> "$1"\n')
    editor.chmod(0o755)
    done = subprocess.run(
        sandbox.words("config", "edit", "--common", tags=()),
        input="n\n", capture_output=True, text=True, check=True, env=sandbox.environ | {"EDITOR": str(editor)},
    )  # fmt: skip
    assert done.stdout == "+ NEW\nwrite and commit? [y/N]: nothing has been written\n"
    assert tree(sandbox) == before


def test_a_hostile_repository_makes_nothing_run(sandbox, tmp_path):
    """Hooks, a file system monitor, filters, text converters, an editor, a pager, gpg: all of them would leave a mark."""
    begin(sandbox)
    mark = tmp_path / "mark"
    trap = tmp_path / "trap"
    trap.write_text(f'#!/bin/sh\necho "$0 $*" >> {mark}\ncat\n')
    trap.chmod(0o755)
    root = sandbox.root
    (root / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
    commit(root, "Attributes")
    for name in ("pre-commit", "post-commit", "reference-transaction", "post-checkout", "post-index-change"):
        hook = root / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(trap.read_text())
        hook.chmod(0o755)
    for key in (
        "core.fsmonitor", "filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv",
        "diff.evil.command", "diff.external", "core.editor", "core.pager", "gpg.program", "core.sshCommand",
        "credential.helper", "alias.log", "alias.cat-file", "core.alternateRefsCommand", "sequence.editor",
    ):  # fmt: skip
        git(root, "config", key, f"!{trap}" if key.startswith("alias") else str(trap))
    git(root, "config", "commit.gpgSign", "true")
    git(root, "config", "core.hooksPath", str(root / ".git/hooks"))
    sandbox.run("config", "set", "A=1", "--common", tags=())
    sandbox.run("config", "explain", "A", "--mode", "review", "--service", "api", tags=())
    sandbox.run("config", "history", "A", tags=())
    sandbox.run("config", "diff", "HEAD~1", tags=())
    sandbox.run("config", "impact", "HEAD~1", tags=())
    assert not mark.exists(), mark.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look into somebody else's repository")
def test_root_reads_somebody_elses_repository_as_its_owner_and_writes_nothing(sandbox):
    begin(sandbox)
    for path in [sandbox.root, *sandbox.root.parents]:
        if path.stat().st_uid == 0 and str(path) != "/":
            path.chmod(path.stat().st_mode | 0o011)
    subprocess.run(["chown", "-R", "nobody:", str(sandbox.root)], check=True)
    sandbox.config("common/LOG_LEVEL", "debug")
    assert "LOG_LEVEL has changed" in sandbox.run("config", "impact", tags=()).stdout
    done = sandbox.run("config", "set", "A=1", "--common", tags=(), code=2)
    owner = (sandbox.root / "config").stat().st_uid
    assert done.stderr == (
        f"error: cannot write to {sandbox.root}/config: it belongs to user {owner}\n  way out: run as that user\n"
    )


@pytest.mark.parametrize("revision", ["--output=/tmp/x", "-h", "HEAD; id", "HEAD:config", "", "@{-1}", "ü"])
def test_a_revision_is_never_an_option(sandbox, revision):
    begin(sandbox)
    done = sandbox.run("config", "impact", "--", revision, tags=(), code=2)
    assert done.stderr.startswith("error: cannot find revision "), done.stderr


def test_the_lines_of_a_value_are_blamed_and_not_what_looks_like_them(sandbox):
    begin(sandbox)
    env = sandbox.root / "config/common/.env"
    env.write_text('KEY=real\nLINES="x\ny"\nOTHER="\nKEY=fake\n"\n\'QUOTED\'=1\n')
    wrote = commit(sandbox.root, "Write")
    env.write_text(env.read_text().replace('y"', 'z"'))
    second = commit(sandbox.root, "The second line of LINES")
    env.write_text(env.read_text().replace("fake", "fake too"))
    third = commit(sandbox.root, "Inside OTHER")
    (program,) = sandbox.run(
        "config", "list", "--provenance", "--json", "--mode", "review", "--service", "api", tags=()
    ).json["programs"]
    found = {one["key"]: one.get("commit") for one in program["variables"]}
    assert [found[key] for key in ("KEY", "LINES", "OTHER", "QUOTED")] == [wrote, second, third, wrote]


@pytest.mark.parametrize("outer", [True, False])
def test_config_may_be_a_repository_of_its_own(sandbox, outer):
    """Inside another that ignores it, all its values were told as not committed; alone, nobody had written them."""
    begin(sandbox)
    sandbox.sleeper("api", extra="env: {DEFAULT: 1}")
    first = commit(sandbox.root, "A default")
    git(sandbox.root, "rm", "-rq", "--cached", "config")
    (sandbox.root / ".gitignore").write_text("config\n.bootstrap\n")
    commit(sandbox.root, "Let go of config")
    if not outer:
        shutil.rmtree(sandbox.root / ".git")
    git(sandbox.root / "config", "init", "-q", "-b", "main")
    inner = commit(sandbox.root / "config", "Its own")
    words = ("--mode", "review", "--service", "api")
    assert explain(sandbox, "LOG_LEVEL", *words)["layers"][0]["commit"] == inner
    assert explain(sandbox, "DEFAULT", *words)["layers"][0].get("commit") == (first if outer else None)
    sandbox.run("config", "set", "LOG_LEVEL=debug", "--common", tags=())
    assert explain(sandbox, "LOG_LEVEL", *words)["layers"][0]["subject"] == "Set LOG_LEVEL in common"


def test_set_from_a_standard_input_that_is_closed(sandbox):
    begin(sandbox)
    words = " ".join(map(shlex.quote, sandbox.words("config", "set", "A=-", "--common", tags=())))
    done = subprocess.run(
        f"{words} <&-", shell=True, env=sandbox.environ, cwd=sandbox.root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        2,
        ("error: cannot set A: standard input is empty\n  way out: A= sets it to the empty text\n"),
    )


def test_set_and_apply_print_one_document(sandbox):
    begin(sandbox)
    done = sandbox.run("config", "set", "A=1", "--service", "api", "--up", "--json")
    assert [action["action"] for action in done.json["actions"]] == ["start", "start"]
    assert ": Set A in services/api/common\n" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write into somebody else's directory")
@pytest.mark.parametrize("verb", ["set", "import", "share"])
def test_root_writes_into_no_directory_of_others(sandbox, tmp_path, verb):
    """Its owner could put a link to /etc/cron.d in its place at any moment."""
    begin(sandbox)
    for service in ("api", "web"):
        sandbox.config(f"services/{service}/review/SAME", "1")
    commit(sandbox.root, "Two alike")
    theirs = sandbox.root / "config" / ("modes/review" if verb == "share" else "services/api/review")
    theirs.mkdir(parents=True, exist_ok=True)
    os.chown(theirs, 1234, 1234)
    (tmp_path / "vars.env").write_text("A=1\n")
    words = {
        "set": ("set", "A=1", "--service", "api", "--mode", "review"),
        "import": ("import", "dotenv", str(tmp_path / "vars.env"), "--service", "api", "--mode", "review"),
        "share": ("import", "shared", "--mode", "review"),
    }
    before = tree(sandbox)
    done = sandbox.run("config", *words[verb], tags=(), code=2)
    assert done.stderr == (f"error: cannot write to {theirs}: it belongs to user 1234\n  way out: run as that user\n")
    assert tree(sandbox) == before


def test_what_only_a_merge_says_is_the_merges(sandbox):
    """Git tells merges in another form: with as many blobs as parents, and an empty field in front."""
    begin(sandbox)
    root = sandbox.root
    git(root, "switch", "-qc", "topic")
    sandbox.config("common/LOG_LEVEL", "topic")
    commit(root, "On the topic branch")
    git(root, "switch", "-q", "main")
    sandbox.config("common/LOG_LEVEL", "main")
    commit(root, "On main")
    git(root, "merge", "-q", "-s", "ours", "--no-commit", "topic")
    sandbox.config("common/LOG_LEVEL", "neither")
    sandbox.config("common/SNEAKY", "1")
    merged = commit(root, "Merge topic")
    git(root, "commit", "-q", "--allow-empty", "--allow-empty-message", "-m", "")
    words = ("--mode", "review", "--service", "api")
    assert [explain(sandbox, key, *words)["layers"][-1]["commit"] for key in ("LOG_LEVEL", "SNEAKY")] == [merged] * 2
    edits = sandbox.run("config", "history", "LOG_LEVEL", "--json", tags=()).json["edits"]
    assert [(one["subject"], one["before"], one["after"]) for one in edits] == [
        ("Merge topic", "main", "neither"),
        ("On main", "info", "main"),
        ("On the topic branch", "info", "topic"),
        ("Begin", None, "info"),
    ]


def test_a_directory_in_the_place_of_a_variable_is_told(sandbox):
    begin(sandbox)
    (sandbox.root / "config/common/A/B").mkdir(parents=True)
    before = tree(sandbox)
    done = sandbox.run("config", "set", "A=1", "--common", tags=(), code=2)
    assert done.stderr == (
        "error: cannot write config/common/A: a directory stands there\n  way out: remove it first\n"
    )
    assert tree(sandbox) == before
