"""`rollback`: what ran before runs again, exactly as it was rendered."""

from __future__ import annotations


def word(sandbox):
    return sandbox.environ_of(sandbox.pids()["api-web"]).get(b"WORD")


def prepare(sandbox):
    """Two generations: WORD is old, then new; `other` does not use it."""
    sandbox.sleeper("api")
    sandbox.sleeper("other")
    sandbox.config("services/api/common/WORD", "old")
    first = sandbox.run("up", "--json").json["generation"]
    sandbox.config("services/api/common/WORD", "new")
    second = sandbox.run("up", "--json").json["generation"]
    return first, second


def test_it_goes_back_and_replaces_only_what_differs_and_up_goes_forward_again(sandbox):
    first, second = prepare(sandbox)
    before = sandbox.pids()
    done = sandbox.run("rollback", "--json")
    assert done.json["generation"] == first
    assert {a["program"]: (a["action"], a["reasons"]) for a in done.json["actions"]} == {
        "api-web": ("replace", ["WORD has changed (config/services/api/common/WORD)"]),
        "other-web": ("keep", ["nothing that it uses has changed"]),
    }
    assert word(sandbox) == b"old"
    assert sandbox.pids()["other-web"] == before["other-web"]
    assert sandbox.status()["generation"] == first
    assert sandbox.status()["converged"]
    assert sandbox.run("rollback", "--json").json["generation"] == second, "back from where we came"
    done = sandbox.run("rollback", first)
    assert done.stdout.endswith("\nthis holds until the next up: undo the change in the configuration too\n")
    sandbox.run("up")
    assert word(sandbox) == b"new"


def test_a_generation_by_name_and_one_that_is_not_there(sandbox):
    first, _ = prepare(sandbox)
    sandbox.run("rollback", first)
    assert word(sandbox) == b"old"
    done = sandbox.run("rollback", "0000000000000000", code=2)
    assert done.stderr == (
        'error: cannot go back to generation "0000000000000000": this box does not remember it\n'
        "  way out: name one that `bootstrap generations` lists\n"
    )
    assert word(sandbox) == b"old"


def test_without_an_earlier_one_it_says_so(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    done = sandbox.run("rollback", code=2)
    assert done.stderr == (
        "error: cannot go back: this box remembers no earlier generation; `bootstrap down` forgets them all\n"
        "  way out: undo the change in the configuration and run bootstrap up\n"
    )


def test_what_the_store_has_lost_is_refused_and_nothing_is_touched(sandbox):
    first, second = prepare(sandbox)
    before = sandbox.pids()
    for path in (sandbox.state / "run/store").glob("api-web-*"):
        if b"old" in (path / "env").read_bytes():
            path.rename(sandbox.root / "gone")
    done = sandbox.run("rollback", code=2)
    assert done.stderr == (
        f'error: cannot go back to generation "{first}": its programs are not kept any more\n'
        "  where: run/store, which lives no longer than the boot\n"
        "  way out: undo the change in the configuration and run bootstrap up\n"
    )
    assert sandbox.pids() == before
    assert sandbox.status()["generation"] == second


def test_without_a_name_it_passes_over_generations_in_which_something_failed(sandbox):
    sandbox.sleeper("api", extra='setup: ["test $WORD = good"]')
    sandbox.config("common/WORD", "good")
    good = sandbox.run("up", "--json").json["generation"]
    for word in ("bad", "worse"):
        sandbox.config("common/WORD", word)
        sandbox.run("up", code=1)
    shown = [line.split("; ")[1:] for line in sandbox.run("generations").stdout.splitlines()]
    assert shown == [[], ["failed: api-web"], ["failed: api-web"]]
    assert [one["failed"] for one in sandbox.run("generations", "--json").json] == [[], ["api-web"], ["api-web"]]
    assert sandbox.run("rollback", "--json").json["generation"] == good
    assert sandbox.status()["converged"]
    failing = next(one["id"] for one in sandbox.run("generations", "--json").json if one["failed"])
    assert "until the next up" not in sandbox.run("rollback", failing, code=1).stdout
