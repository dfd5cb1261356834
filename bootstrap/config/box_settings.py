"""``config/box.yaml`` → what holds for every box of this root, whatever its tags say.

bucket: acme-bootstrap-state     # where boots are reported and counted, unless tag bootstrap:bucket names another
settle: 10s                      # how long tags must be unchanged before they are applied
alert:                           # who is told when launches are stopped; all that are given
  sns: arn:aws:sns:eu-west-1:123456789012:bootstrap
  webhook: https://hooks.example.com/bootstrap
  command: [/usr/local/bin/page, --urgent]    # gets the alert as JSON on its standard input
"""

from __future__ import annotations

import re
from dataclasses import field

from bootstrap.frozen import dataclass
from bootstrap.identity import BUCKET
from bootstrap.reading.problem import FlawedError, decode_text
from bootstrap.reading.scalars import TEXT, duration
from bootstrap.reading.schema import Keys, list_of, read_fields, record, scalar
from bootstrap.reading.strict_yaml import NOTHING, parse_yaml

_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}")
_WEBHOOK = re.compile(r"https://[!-~]+|http://(127\.0\.0\.1|localhost)(:\d+)?(/[!-~]*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Who is told."""

    sns: str | None = None
    webhook: str | None = None
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSettings:
    """All that the file says."""

    bucket: str | None = None
    settle_s: float = 10.0
    alert: Alert = field(default_factory=Alert)


def parse_box_settings(content: bytes) -> BoxSettings:
    """Raises FlawedError with all problems."""
    node = parse_yaml(decode_text(content))
    if node == NOTHING:
        return BoxSettings()
    values, problems = read_fields(node, _KEYS)
    if problems:
        raise FlawedError(*problems)
    return BoxSettings(**values)


_ALERT: Keys = {
    "sns": ("sns", scalar("the ARN of an SNS topic", lambda text: text if _TOPIC.fullmatch(text) else None)),
    "webhook": ("webhook", scalar("an https address", lambda text: text if _WEBHOOK.fullmatch(text) else None)),
    "command": ("command", list_of(TEXT)),
}
_KEYS: Keys = {
    "bucket": ("bucket", scalar("the name of an S3 bucket", lambda text: text if BUCKET.fullmatch(text) else None)),
    "settle": ("settle_s", duration(may_be_zero=True)),
    "alert": ("alert", record(Alert, _ALERT)),
}
