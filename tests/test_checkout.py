"""Which code a service runs, from what the tags ask for and what the sources have."""

from __future__ import annotations

import pytest

from bootstrap.checkout import (
    Finding,
    Listing,
    Want,
    choose_code,
    describe_code,
    parse_code,
    parse_listing,
    render_code,
    show_address,
    want_of,
)
from bootstrap.definition import Code, Source
from bootstrap.errors import TagError
from bootstrap.reconcile import explain_change

COMMIT = "1a2b3c4d" * 5
OTHER = "5e6f7a8b" * 5


def want(service, ref=None, *, is_own=False, kind="git"):
    url = f"https://git:secret@example.com/{service}.git" if kind == "git" else f"s3://bucket/{service}/"
    return Want(service=service, source=Source(kind=kind, url=url), ref=ref, is_own=is_own)


def code(asked, ref="main", version=COMMIT):
    source = asked.source
    return Code(
        service=asked.service,
        kind=source.kind,
        url=source.url,
        wanted=asked.ref,
        is_own=asked.is_own,
        ref=ref,
        version=version,
    )


def test_a_listing_has_commits_of_branches_and_tags_and_the_default():
    listing = parse_listing(
        "ref: refs/heads/main\tHEAD\n"
        f"{COMMIT}\tHEAD\n{COMMIT}\trefs/heads/main\n{OTHER}\trefs/heads/team/fix-1\n"
        f"{'0' * 40}\trefs/tags/v1\n{OTHER}\trefs/tags/v1^{{}}\n{COMMIT}\trefs/pull/1/head\n"
    )
    assert listing == Listing(default="main", branches={"main": COMMIT, "team/fix-1": OTHER}, tags={"v1": OTHER})
    assert [listing.find(ref) for ref in ("main", "refs/heads/main", "v1", "refs/tags/v1", "team/fix-1", "fix-1")] == [
        COMMIT,
        COMMIT,
        OTHER,
        OTHER,
        OTHER,
        None,
    ]


def test_a_branch_goes_before_a_tag_of_its_name():
    assert Listing(default=None, branches={"x": COMMIT}, tags={"x": OTHER}).find("x") == COMMIT


def test_a_head_that_leads_nowhere_is_no_default():
    assert parse_listing(f"ref: refs/heads/gone\tHEAD\n{COMMIT}\trefs/heads/main\n").default is None


def test_a_repository_without_the_ref_gives_its_default_and_that_is_said():
    api, web = want("api", "fix-1"), want("web", "fix-1")
    findings = {
        "api": Finding(code=code(api), is_missing=True),
        "web": Finding(code=code(web, "fix-1", OTHER)),
    }
    codes, notices = choose_code((api, web), findings)
    assert [one.version for one in codes] == [COMMIT, OTHER]
    assert notices == ['api: no ref "fix-1", using main (1a2b3c4d)']


def test_a_ref_that_no_repository_has_is_refused_with_all_of_them():
    api, web = want("api", "fix-11"), want("web", "fix-11", kind="s3")
    findings = {
        "api": Finding(code=code(api), is_missing=True, refs=("main", "fix-1")),
        "web": Finding(code=code(web), is_missing=True),
    }
    with pytest.raises(TagError) as refused:
        choose_code((api, web), findings)
    assert str(refused.value) == (
        'cannot use tag "bootstrap:ref": no source of this box has a branch, tag, commit or version "fix-11"; '
        'did you mean "fix-1"?\n'
        "  where: https://example.com/api.git (api), s3://bucket/web/ (web)\n"
        "  way out: push it there, or correct the tag"
    )


def test_a_service_s_own_ref_must_be_there_and_does_not_excuse_the_others():
    api, web = want("api", "fix-1", is_own=True), want("web", "fix-2")
    findings = {name: Finding(code=code(one), is_missing=True) for name, one in (("api", api), ("web", web))}
    with pytest.raises(TagError) as refused:
        choose_code((api, web), findings)
    lacks = "its source has no branch, tag, commit or version"
    assert str(refused.value) == (
        f'cannot use tag "bootstrap:ref.api": {lacks} "fix-1"\n'
        "  where: https://example.com/api.git (api)\n"
        "  way out: push it there, or correct the tag\n"
        f'cannot use tag "bootstrap:ref": {lacks} "fix-2"\n'
        "  where: https://example.com/web.git (web)\n"
        "  way out: push it there, or correct the tag"
    )


def test_code_is_described_by_commit_and_ref_and_tarballs_by_version_and_digest():
    assert describe_code(code(want("api"))) == "1a2b3c4d (main)"
    assert describe_code(code(want("api"), "1a2b3c4d")) == "1a2b3c4d"
    assert describe_code(code(want("api", kind="s3"), "1.4", "1.4-0123456789ab")) == "1.4 (sha256 01234567)"


def test_code_survives_being_written_and_read_and_knows_what_was_wanted():
    one = code(want("api", "fix-1", is_own=True), "fix-1")
    assert parse_code(render_code(one)) == one
    assert want_of(one) == want("api", "fix-1", is_own=True)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:token@example.com/a.git", "https://example.com/a.git"),
        ("ssh://git@example.com/a@b", "ssh://example.com/a@b"),
        ("git@example.com:a.git", "git@example.com:a.git"),
        ("/srv/a", "/srv/a"),
    ],
)
def test_an_address_is_shown_without_its_password(url, shown):
    assert show_address(url) == shown


def facts(directory, words=None, folder=None):
    checkout = {} if words is None else {"code": {"words": words, "folder": folder}}
    return {"file": "services/api/service.yaml", "directory": directory, "env": {}, **checkout}


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
    [
        (facts("/c/1/app", "1 (a)", "/c/1"), facts("/c/2/app", "2 (b)", "/c/2"), ("code is now 2 (b), was 1 (a)",)),
        (
            facts("/c/1/app", "1 (a)", "/c/1"),
            facts("/c/2", "2 (b)", "/c/2"),
            ("code is now 2 (b), was 1 (a)", "its directory has changed (services/api/service.yaml)"),
        ),
        (
            facts("/s/api"),
            facts("/c/2", "2 (b)", "/c/2"),
            ("code is now 2 (b), was what stands in the service's own folder",),
        ),
        (
            facts("/c/1", "1 (a)", "/c/1"),
            facts("/s/api"),
            ("code is now what stands in the service's own folder, was 1 (a)",),
        ),
        (
            facts("/c/1", "1 (a)", "/c/1"),
            facts("/c/1/app", "1 (b)", "/c/1"),
            ("its directory has changed (services/api/service.yaml)",),
        ),
    ],
)
def test_the_reason_of_a_restart_names_the_code_and_not_where_it_stands(old, new, reasons):
    assert explain_change(old, new) == reasons
