import subprocess
import sys

import pytest

from bootstrap.spelling import did_you_mean, harmless, listed, nearest, or_list, quoted

MODES = ("development", "production", "review", "staging")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("prodution", "production"),
        ("PRODUCTION", "production"),
        ("prod", "production"),
        ("stag", "staging"),
        ("re", None),
        ("xyz", None),
        ("", None),
        ("production" + "x" * 10_000, None),
    ],
)
def test_the_nearest_word_is_misspelt_in_other_letters_or_cut_short(word, meant):
    assert nearest(word, MODES) == meant


def test_a_beginning_of_several_words_is_near_to_none_of_them():
    assert nearest("web", ["web-of-things", "webmail-frontend"]) is None


def test_nothing_is_near_when_there_is_nothing():
    assert nearest("api", []) is None


def test_a_phrase_proposes_the_nearest_word_or_all_of_them():
    assert did_you_mean("reviw", MODES) == '; did you mean "review"?'
    assert did_you_mean("xyz", MODES) == ""
    assert or_list("reviw", MODES, "modes") == '; did you mean "review"?'
    assert or_list("xyz", MODES, "modes") == "; modes are development, production, review, staging"


def test_a_list_is_sorted_and_bearable():
    assert listed(["b", "a"]) == "a, b"
    assert listed([]) == "none"
    assert listed(f"{number:02}" for number in range(23)).endswith("18, 19 and 3 more")


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("api", '"api"'),
        ("übung", '"übung"'),
        ("a\nb", '"a\\nb"'),
        ("ü\x1b[31m", '"ü\\x1b[31m"'),
        ("a\u202eb", '"a\\u202eb"'),
        ("x" * 61, '"' + "x" * 59 + '…"'),
        ("x" * 60, '"' + "x" * 60 + '"'),
    ],
)
def test_a_word_is_told_back_harmless_and_short(word, told):
    assert quoted(word) == told


def test_harmless_text_is_left_alone():
    assert harmless("a: b") == "a: b"


def test_what_is_only_needed_for_mistakes_or_files_is_imported_no_earlier():
    script = "import sys, bootstrap.plan, bootstrap.catalog; print({'yaml', 'difflib', 'ipaddress'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
