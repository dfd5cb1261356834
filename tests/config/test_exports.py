"""Each format, read back by the program that it is for, or by the rules of its own source where that cannot run here."""

import json
import random
import subprocess

import pytest

from bootstrap.config.dotenv_file import parse_dotenv
from bootstrap.config.exports import FORMATS, render_export
from bootstrap.errors import Refused

VALUES = [
    "", "plain", "two words", "a\nb\n", "\n", "a\r\nb", "x\r", " lead", "trail ", "tab\t", "'", '"', "it's", '"quoted"', "'q'",
    "$HOME ${X} $(id) `id`", "\\", "a\\", "\\\\n", "\\n", "#no", "a #no", "a#b", "=", "a=b", "%s %%", "ünï 🙂", "\x01\x1b[2J\x7f",
    "\u2028\x85", "!", "~", "*", "export X=1", "x" * 30_000, "\ufeffbom",
]  # fmt: skip


def as_json(text):
    return json.loads(text)


def as_dotenv(text):
    return parse_dotenv(text.encode())


def as_sh(text):
    """What ``heroku config:set`` would find as its arguments, with a function in its place."""
    script = 'heroku() { shift; for word; do printf "%s\\0" "$word"; done; }\n' + text
    done = subprocess.run(["/bin/sh"], input=script.encode(), capture_output=True, check=True)
    assert done.stderr == b""
    return dict(word.decode().split("=", 1) for word in done.stdout.split(b"\0") if word)


def as_docker(text):
    """docker/cli, pkg/kvfile/kvfile.go: bufio.ScanLines, TrimLeftFunc, comments, Cut."""
    values = {}
    assert text.endswith("\n") or not text
    for raw in text.encode().split(b"\n")[:-1]:
        assert len(raw) < 65536
        line = raw.removesuffix(b"\r").decode().lstrip()
        if line and line[0] != "#":
            key, _, value = line.partition("=")
            values[key] = value
    return values


def as_systemd(text):
    """systemd, src/basic/env-file.c: the states that a double-quoted value goes through."""
    values, state, key, value = {}, "key", "", ""
    for char in text:
        match state, char:
            case "key", "=":
                state = "before"
            case "key", _:
                key += char
            case "before", '"':
                state = "quoted"
            case "before", "\n":
                values[key], state, key, value = value, "key", "", ""
            case "quoted", '"':
                state = "before"
            case "quoted", "\\":
                state = "escape"
            case "quoted", _:
                value += char
            case "escape", _:
                state = "quoted"
                value += char if char in '"\\`$' else "" if char == "\n" else f"\\{char}"
            case _:
                raise AssertionError((state, char))
    assert (state, key) == ("key", "")
    return values


READERS = {"json": as_json, "env": as_dotenv, "heroku": as_sh, "docker": as_docker, "systemd": as_systemd}


def held_by(form, values):
    """Those that the format takes; each is read back alone, each refusal names its key."""
    held = {}
    for key, value in values.items():
        refused = refusal(form, {key: value})
        if refused is None:
            assert READERS[form](render_export(form, {key: value})) == {key: value}
            held[key] = value
        else:
            assert refused.startswith(f"cannot export variable {key} as {form}: its value ")
    return held


def refusal(form, values):
    try:
        render_export(form, values)
    except Refused as error:
        return str(error)
    return None


@pytest.mark.parametrize("form", FORMATS)
def test_every_value_arrives_unchanged_or_is_refused_by_its_key(form):
    values = {f"KEY_{number}": value for number, value in enumerate(VALUES)}
    held = held_by(form, values)
    assert READERS[form](render_export(form, held)) == held
    assert len(held) >= {"docker": 25, "env": 32}.get(form, len(VALUES))


@pytest.mark.parametrize("form", FORMATS)
def test_random_values_arrive_unchanged_or_are_refused(form):
    dice = random.Random(form)
    alphabet = "ab 12\t\n\r'\"\\$%#=`!é🙂"
    values = {f"K{number}": "".join(dice.choices(alphabet, k=dice.randrange(12))) for number in range(2000)}
    held = {key: value for key, value in values.items() if refusal(form, {key: value}) is None}
    assert READERS[form](render_export(form, held)) == held
    assert len(held) > 500


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_not_utf_8_is_refused(form):
    with pytest.raises(Refused) as error:
        render_export(form, {"A": "x\udcff", "B": "fine", "C": "\udc80"})
    way_out = "  way out: leave it out with --without, or use another format"
    assert str(error.value) == "\n".join(
        f"cannot export variable {key} as {form}: its value is not UTF-8\n{way_out}" for key in "AC"
    )


@pytest.mark.parametrize(
    ("form", "value", "cause"),
    [
        ("docker", "a\nb", "has several lines, and a line is all there is"),
        ("docker", "a\r", "ends in a carriage return, which would be lost"),
        ("docker", "'a'", "is in quotes, which some versions take away"),
        ("docker", "x" * 65534, "makes a line of 64 KiB or more"),
        ("env", "a b\n\\", "has no form in a .env: it ends in a backslash, or has 200 blanks in a row"),
    ],
)
def test_a_value_that_a_format_cannot_hold_is_refused_with_the_reason(form, value, cause):
    with pytest.raises(Refused) as error:
        render_export(form, {"K": value})
    assert str(error.value).splitlines()[0] == f"cannot export variable K as {form}: its value {cause}"


def test_heroku_has_rules_of_its_own():
    with pytest.raises(Refused, match="Heroku refuses names that begin with __"):
        render_export("heroku", {"__A": "x"})
    with pytest.raises(Refused) as error:
        render_export("heroku", {"A": "x" * 65_536})
    assert str(error.value) == (
        "cannot export as heroku: names and values come to 65537 bytes, and Heroku takes 65536\n"
        "  way out: leave some out with --without"
    )


@pytest.mark.parametrize(
    ("form", "text"), [("json", "{}\n"), ("env", ""), ("docker", ""), ("systemd", ""), ("heroku", "")]
)
def test_nothing_is_an_export_too(form, text):
    assert render_export(form, {}) == text
