"""The policy for boxes grants what the code asks for, and nothing else."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from bootstrap.world.ec2.grants import STATEMENTS

REPOSITORY = Path(__file__).parents[1]
ACTION = re.compile(r"[a-z0-9]+:[A-Z][A-Za-z]+")
UNCALLED = {"s3:ListBucket"}  # it only makes S3 tell what does not exist from what is denied


def policy():
    return json.loads((REPOSITORY / "image/iam/policy.json").read_text())


def granted():
    """Action → statement."""
    actions = {}
    for statement in policy()["Statement"]:
        listed = statement["Action"]
        for action in [listed] if isinstance(listed, str) else listed:
            assert action not in actions, f"{action} is granted twice"
            actions[action] = statement["Sid"]
    return actions


def called():
    """Every action that stands anywhere in the code, but in the table that is tested here."""
    found = set()
    for path in (REPOSITORY / "bootstrap").rglob("*.py"):
        if path.name != "grants.py":
            nodes = ast.walk(ast.parse(path.read_text()))
            texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
            found |= {text for text in texts if ACTION.fullmatch(text)}
    return found


def test_the_policy_grants_what_the_code_asks_for_and_nothing_else():
    assert granted().keys() - UNCALLED == called()


def test_a_denial_names_the_statement_that_grants():
    assert {action: sid for action, sid in granted().items() if action not in UNCALLED} == STATEMENTS


def test_aws_would_take_the_policy():
    """See "IAM and AWS STS quotas" and "IAM JSON policy elements" in the IAM user guide."""
    text = json.dumps(policy(), separators=(",", ":"))
    assert len(text) < 6144
    sids = [statement["Sid"] for statement in policy()["Statement"]]
    assert all(re.fullmatch(r"[A-Za-z0-9]+", sid) for sid in sids)
    assert len(set(sids)) == len(sids)


@pytest.mark.parametrize("statement", policy()["Statement"], ids=lambda one: one["Sid"])
def test_only_reading_is_allowed_on_everything(statement):
    on_everything = statement["Resource"] == "*"
    assert on_everything == (statement["Sid"] == "Read")
    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
    assert not on_everything or all(re.search(r":(Describe|List)", action) for action in actions)


def test_a_reason_is_given_for_every_action():
    text = (REPOSITORY / "image/iam/README.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert {word for row in rows for word in re.findall(r"`([^`]+)`", row) if ACTION.fullmatch(word)} - {
        "route53:ChangeResourceRecordSetsNormalizedRecordNames"
    } == granted().keys()
    assert [sid for row in rows for sid in re.findall(r"^\| `(\w+)` \|", row)] == [
        statement["Sid"] for statement in policy()["Statement"]
    ]
