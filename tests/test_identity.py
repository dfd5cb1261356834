from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.definition import Mode
from bootstrap.errors import TagError
from bootstrap.identity import Identity, parse_identity
from bootstrap.tag import Tag, is_setting, key_of_variable, lie_over, missing_tags, qualified

MODES = {
    "review": Mode(name="review", runs="everything"),
    "production": Mode(name="production", runs="one"),
}
NAME = "should be lower-case letters, digits and hyphens (63 at most, no hyphen first)"
REF = "should be a git branch, tag or commit of letters, digits and ._/+=@- (255 at most)"
SCALE = "should be like web=2,worker=3, 1 to 100 each"
TIME = "should be a time with its zone like 2030-01-31T18:00:00Z"
GROUPS = "should be names or ARNs of target groups with commas between them"
DNS = "should be a record name like review-7.example.com"
BUCKET = "should be the name of an S3 bucket"
ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"


def tags(**values):
    """Keywords to tags: ``target_groups`` is ``bootstrap:target-groups``."""
    return [Tag(key=f"bootstrap:{key.replace('_', '-')}", value=value, source="test") for key, value in values.items()]


def parse(**values):
    return parse_identity(tags(mode="review", **values))


def problems(*read):
    with pytest.raises(TagError) as error:
        parse_identity(read)
    return str(error.value).split("\n")


def test_a_mode_alone_is_an_identity():
    (mode,) = tags(mode="review")
    assert parse_identity([mode]) == Identity(mode="review", scale={}, refs={}, tags=(mode,))


def test_every_key_has_its_place():
    read = tags(
        mode="production",
        service="api",
        process="worker",
        scale="web=2,worker=100",
        ref="main",
        expires="2030-01-31T18:00:00+02:00",
        target_groups=f"web,{ARN}",
        dns="*.Review-7.example.com.",
        bucket="state.example",
        hold="true",
    )
    ref_of_api = Tag(key="bootstrap:ref.api", value="fix-1", source="test")
    identity = parse_identity([*read, ref_of_api])
    assert identity == Identity(
        mode="production",
        service="api",
        process="worker",
        scale={"web": 2, "worker": 100},
        ref="main",
        refs={"api": "fix-1"},
        expires=datetime(2030, 1, 31, 16, tzinfo=UTC),
        target_groups=("web", ARN),
        dns="*.review-7.example.com",
        bucket="state.example",
        hold=True,
        tags=tuple(sorted([*read, ref_of_api], key=lambda tag: tag.key)),
    )


def test_tags_of_others_and_status_tags_are_kept_and_mean_nothing():
    others = [
        Tag(key="Name", value="\x1b[31m", source="test"),
        Tag(key="aws:autoscaling:groupName", value="web", source="test"),
        Tag(key="Bootstrap:mode", value="production", source="test"),
        Tag(key="bootstrap:status", value="ready", source="test"),
        Tag(key="bootstrap:status.reason", value="", source="test"),
    ]
    identity = parse_identity([*others, *tags(mode="review")])
    assert identity.mode == "review"
    assert set(others) < set(identity.tags)


@pytest.mark.parametrize(
    ("key", "value", "cause"),
    [
        *[
            (key, value, NAME)
            for key in ("mode", "service", "process")
            for value in ("", "Api", "-api", "a_b", "a.b", "../x", "a\n", "a b", "ä", "a" * 64, "a;reboot")
        ],
        *[
            ("scale", value, SCALE)
            for value in ("", "web", "web=", "=2", "web=0", "web=101", "web=+1", "web=01", "web=²", "web=2,", "Web=1")
        ],
        ("scale", "web=2, worker=3", SCALE),
        ("scale", "web=2,web=3", 'should name "web" once'),
        *[
            ("ref", value, REF)
            for value in (
                *("", "-f", "--upload-pack=x", "a..b", "a b", "a\tb", "a\n", "a~1", "a^", "a:b", "a?", "a*", "a[b"),
                *(
                    "a\\b",
                    "/a",
                    "a/",
                    "a//b",
                    ".a",
                    "a/.b",
                    "a.",
                    "a./b",
                    "a.lock",
                    "a.lock/b",
                    "a/b.lock",
                    "@",
                    "@{u}",
                ),
                *("a@{1}", "a/-b", "é", "a\x7f", "$(reboot)", "`x`", "a'b", "a" * 256),
            )
        ],
        *[
            ("expires", value, TIME)
            for value in (
                *("", "tomorrow", "2030-01-31", "2030-01-31T18:00:00", "2030-01-31 18:00:00Z", "2030-02-30T00:00:00Z"),
                *("2030-01-31T24:30:00Z", "2030-01-31T18:00Z", "2030-01-31T18:00:00+0200", "20300131T180000Z"),
                *(
                    "2030-01-31T18:00:00+25:00",
                    "٢٠٣٠-01-31T18:00:00Z",
                    "2030-01-31T18:00:00Z\n",
                    "0000-01-01T00:00:00Z",
                ),
            )
        ],
        *[
            ("target_groups", value, GROUPS)
            for value in (
                *("", "web,", ",web", "-web", "web-", "a_b", "a b", "a" * 33, ARN[:-1], f"{ARN}\n", f" {ARN}"),
                ARN.replace("123456789012", "12345"),
                ARN.replace("targetgroup", "loadbalancer"),
            )
        ],
        ("target_groups", "web,web", "should name each target group once"),
        *[
            ("dns", value, DNS)
            for value in (
                *(
                    "",
                    "localhost",
                    "-a.example",
                    "a-.example",
                    "a..example",
                    "a.*.example",
                    ".example.com",
                    "a b.example",
                ),
                *(f"{'a' * 64}.example", "a." * 127 + "ab", "a.example\n", "http://a.example", "ä.example"),
            )
        ],
        *[
            ("bucket", value, BUCKET)
            for value in (
                *("", "ab", "A-bucket", "a" * 64, "-abc", "abc-", "a..b", "192.168.0.1", "xn--abc", "sthree-abc"),
                *(
                    "amzn-s3-demo-abc",
                    "abc-s3alias",
                    "abc--ol-s3",
                    "abc.mrap",
                    "abc--x-s3",
                    "abc--table-s3",
                    "a/b",
                    "abc\n",
                ),
            )
        ],
        *[("hold", value, "should be true or false") for value in ("", "yes", "True", "1", "true ")],
    ],
)
def test_a_value_outside_of_its_grammar_is_refused(key, value, cause):
    read = {"mode": "review", key: value}
    with pytest.raises(TagError) as error:
        parse_identity(tags(**read))
    (problem,) = error.value.problems
    name = f"bootstrap:{key.replace('_', '-')}"
    assert problem.startswith(f'cannot use tag "{name}": {cause}, not "')
    assert problem.endswith('" (from test)')
    assert problem.isprintable()


def test_a_refusal_says_what_and_where_it_was():
    assert problems(*tags(mode="Prod\x1b!")) == [
        (
            'cannot use tag "bootstrap:mode": should be lower-case letters, digits and hyphens '
            '(63 at most, no hyphen first), not "Prod\\x1b!" (from test)'
        )
    ]


@pytest.mark.parametrize(
    "ref", ["main", "v1.2.3", "feature/x-1", "a" * 255, "0123abc", "user@host", "a+b=c", "HEAD", "a.b.c", "_x/y_z"]
)
def test_a_usual_ref_is_taken_as_it_is(ref):
    assert parse(ref=ref).ref == ref


@settings(max_examples=150, deadline=None)
@given(st.from_regex(r"[-\w./+=@~^:{} \\]{1,12}(\.lock)?(/[-\w./@]{1,6})?", fullmatch=True))
def test_git_takes_every_ref_that_we_take(ref):
    try:
        parse(ref=ref)
    except TagError:
        return
    assert subprocess.run(["git", "check-ref-format", "--allow-onelevel", ref], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "offset"),
    [("2030-01-31T18:00:00Z", 0), ("2030-01-31t18:00:00.123456789z", 0), ("2030-01-31T18:00:00-03:30", -3.5)],
)
def test_a_time_keeps_its_zone(text, offset):
    expires = parse(expires=text).expires
    assert expires.utcoffset() == timedelta(hours=offset)
    assert (expires.year, expires.hour) == (2030, 18)


@pytest.mark.parametrize("bucket", ["abc", "123", "a.b-c", "a" * 63])
def test_a_bucket_may_be_called_what_s3_allows(bucket):
    assert parse(bucket=bucket).bucket == bucket


def test_hold_may_be_said_to_be_off():
    assert parse(hold="false").hold is False


def test_all_problems_are_told_at_once():
    read = [
        *tags(service="API", scale="web=0", hold="maybe", serivce="api", color="red"),
        Tag(key="bootstrap:ref.API", value="main", source="a.env:7"),
        *[Tag(key="bootstrap:ref", value=ref, source=ref) for ref in ("a", "b")],
    ]
    assert problems(*read) == [
        'cannot use tag "bootstrap:ref": it is set twice, to "a" (from a) and to "b" (from b); keep one of them',
        (
            'cannot use tag "bootstrap:color": no such key; the keys are bootstrap:mode, bootstrap:service, '
            "bootstrap:process, bootstrap:scale, bootstrap:ref, bootstrap:expires, bootstrap:target-groups, "
            "bootstrap:dns, bootstrap:bucket, bootstrap:hold and bootstrap:ref.<service> (from test)"
        ),
        f'cannot use tag "bootstrap:ref.API": the service after "bootstrap:ref." {NAME} (from a.env:7)',
        'cannot use tag "bootstrap:serivce": no such key; did you mean "bootstrap:service"? (from test)',
        f'cannot use tag "bootstrap:service": {NAME}, not "API" (from test)',
        f'cannot use tag "bootstrap:scale": {SCALE}, not "web=0" (from test)',
        'cannot use tag "bootstrap:hold": should be true or false, not "maybe" (from test)',
        'cannot read tag "bootstrap:mode": it is not set, and a mode is never guessed',
    ]


def test_the_same_tag_said_twice_is_no_contradiction():
    assert parse_identity([*tags(mode="review"), *tags(mode="review")]).mode == "review"


def test_no_tags_are_no_identity():
    assert problems() == ['cannot read tag "bootstrap:mode": it is not set, and a mode is never guessed']


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from(["mode", "scale", "ref", "ref.x", "expires", "dns", "é", ""]), st.text()), max_size=4
    )
)
def test_any_text_is_an_identity_or_a_tag_error(pairs):
    read = [Tag(key=f"bootstrap:{key}", value=value, source="test") for key, value in pairs]
    try:
        found = [tag.value for tag in parse_identity(read).tags]
    except TagError as error:
        found = list(error.problems)
    assert all(text.isprintable() for text in found)


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        ({}, ("bootstrap:mode",)),
        ({"service": "api"}, ("bootstrap:mode",)),
        ({"mode": "review"}, ()),
        ({"mode": "production"}, ("bootstrap:service",)),
        ({"mode": "production", "service": "api"}, ()),
        ({"mode": "prodution"}, ()),
    ],
)
def test_which_required_tags_are_missing(read, expected):
    assert missing_tags(tags(**read), MODES) == expected


def test_the_prefix_may_be_left_out():
    assert qualified("mode") == qualified("bootstrap:mode") == "bootstrap:mode"


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        ("BOOTSTRAP_MODE", "bootstrap:mode"),
        ("BOOTSTRAP_REF", "bootstrap:ref"),
        ("BOOTSTRAP_REF_API", "bootstrap:ref.api"),
        ("BOOTSTRAP_REF_MY_API", "bootstrap:ref.my-api"),
        ("BOOTSTRAP_TARGET_GROUPS", "bootstrap:target-groups"),
        ("BOOTSTRAP_", "bootstrap:"),
        ("MODE", None),
        ("bootstrap_mode", None),
    ],
)
def test_a_variable_of_a_tags_file_names_a_tag(variable, key):
    assert key_of_variable(variable) == key


def test_options_of_the_command_are_no_tags():
    assert [is_setting(f"BOOTSTRAP_{name}") for name in ("ROOT", "STATE", "TAG_TIMEOUT", "MODE")] == [True] * 3 + [
        False
    ]


def test_what_lies_over_wins_key_by_key():
    low, high = tags(mode="review", ref="main"), tags(mode="production")
    assert lie_over(high, low) == (high[0], low[1])
