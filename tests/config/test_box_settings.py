"""What ``config/box.yaml`` may say."""

from __future__ import annotations

import pytest

from bootstrap.config.box_settings import Alert, BoxSettings, parse_box_settings
from bootstrap.reading.problem import FlawedError

WHOLE = b"""\
bucket: acme-state
settle: 3s
alert:
  sns: arn:aws:sns:eu-west-1:123456789012:bootstrap
  webhook: https://hooks.example.com/x
  command: [/usr/local/bin/page, --urgent]
"""


def test_everything():
    assert parse_box_settings(WHOLE) == BoxSettings(
        bucket="acme-state",
        settle_s=3.0,
        alert=Alert(
            sns="arn:aws:sns:eu-west-1:123456789012:bootstrap",
            webhook="https://hooks.example.com/x",
            command=("/usr/local/bin/page", "--urgent"),
        ),
    )


def test_nothing():
    assert parse_box_settings(b"# later\n") == BoxSettings()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"bukket: a", 'unknown key; did you mean "bucket"?'),
        (b"bucket: A", 'should be the name of an S3 bucket, not "A"'),
        (b"settle: 10", "should be a duration"),
        (b"alert: {webhook: 'http://hooks.example.com'}", 'should be an https address, not "http://hooks.example.com"'),
        (b"alert: {sns: topic}", 'should be the ARN of an SNS topic, not "topic"'),
    ],
)
def test_what_is_wrong_is_said(content, problem):
    with pytest.raises(FlawedError) as flawed:
        parse_box_settings(content)
    assert flawed.value.problems[0].text.startswith(problem)
