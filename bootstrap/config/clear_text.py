"""A key and its value → whether that is probably a secret in clear text, and what kind.

Forms that mean a secret wherever they stand come first: keys and tokens whose issuers gave them a prefix for exactly
this purpose, private keys, URLs with a password. Where only the key's name speaks of a secret, the value has to look
drawn by lot too: a name alone says little (``CACHE_KEY=users``). A miss costs less than a rule that is switched off.
"""

from __future__ import annotations

import re
from itertools import pairwise

_FORMS = (
    ("an AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("a private key", r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----"),
    ("a private key", r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b"),
    ("a GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})"),
    ("a GitLab token", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("a Slack token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("a Slack webhook", r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/]{20,}"),
    ("a Stripe key", r"\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{20,}|\bwhsec_[A-Za-z0-9+/=]{24,}"),
    ("a Google API key", r"\bAIza[A-Za-z0-9_-]{35}"),
    ("a SendGrid key", r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    ("an npm token", r"\bnpm_[A-Za-z0-9]{36}"),
    ("a PyPI token", r"\bpypi-AgE[A-Za-z0-9_-]{50,}"),
    ("a Heroku key", r"\bHRKU-[A-Za-z0-9_-]{30,}"),
    ("a DigitalOcean token", r"\bdo[opr]_v1_[0-9a-f]{64}"),
    ("a Shopify token", r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    ("a Mailgun key", r"\bkey-[0-9a-f]{32}\b"),
    ("an API key", r"\bsk-[A-Za-z0-9_-]{32,}"),
    ("a signed token (JWT)", r"\beyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10}"),
)
_ANY_FORM = re.compile("|".join(f"(?P<f{index}>{pattern})" for index, (_, pattern) in enumerate(_FORMS)))
# Lengths are bounded wherever a search could otherwise take the square of a hostile value's length.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^/?#\s:@]*:([^/?#\s@]+)@(\[[0-9A-Fa-f:]+\]|[^/?#\s:,]*)")
_OWN_HOST = re.compile(r"localhost|127\.[0-9.]+|\[::1\]|0\.0\.0\.0|host\.docker\.internal|")
_PLACEHOLDER = re.compile(
    r"(?:change|replace|insert|your|my|some|enter|example|sample|dummy|fake|fixme|todo|not[-_]?a|test|none|null|redacted)"
    r"[-_ ]?.{0,12}"
    r"|pass(?:word|wd)?|secret|token|key|admin|root|user|postgres|guest|dev(?:elopment)?|local(?:host)?|foo|bar|baz"
    r"|(.)\1*|.*[<>{}$*…].*|.*EXAMPLE(?:KEY)?",
    re.IGNORECASE | re.DOTALL,
)
_PASSWORD_NAME = re.compile(r"(?:^|_)(?:PASSWORD|PASSWD|PASSPHRASE|PASS)(?:_\d+|_OLD|_NEW|_PREVIOUS)?$", re.IGNORECASE)
_SECRET_NAME = re.compile(
    r"(?:SECRETS?|TOKEN|API_?KEY|ACCESS_?KEY|CREDENTIALS?|SALT|PEPPER|AUTH|_KEY|^KEY|SECRET_KEY_BASE)"
    r"(?:_\d+|_OLD|_NEW|_PREVIOUS)?$",
    re.IGNORECASE,
)
_OPEN_NAME = re.compile(
    r"PUBLIC|PUBLISHABLE|SITE_?KEY|(?:CACHE|SORT|PARTITION|PRIMARY|FOREIGN|ROUTING|GROUP)_KEY"
    r"|CERT|FINGERPRINT|CHECKSUM|DIGEST|INTEGRITY",
    re.IGNORECASE,
)
_PATH_OR_URL = re.compile(r"~?\.{0,2}/|sha\d+[-:]|[A-Za-z][A-Za-z0-9+.-]*://|arn:|[A-Za-z]:\\")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_DRAWN = re.compile(r"[A-Za-z0-9+/=_~.!@#%^&*-]{16,}")
_SHORTEST_PASSWORD = 6
_LONG = 40  # characters from which a value gives itself away without its name
_CHANGES = 0.2  # of neighbours that are of another kind; drawn base64 has 0.45, base36 0.4, words hardly any


def find_secret(key: str, value: str) -> str | None:
    """What kind of secret this probably is, ``None`` for an ordinary value."""
    form = _ANY_FORM.search(value)
    if form is not None and "EXAMPLE" not in form[0]:
        return _FORMS[int((form.lastgroup or "f0")[1:])][0]
    if any(not _OWN_HOST.fullmatch(host) and not _PLACEHOLDER.fullmatch(word) for word, host in _URL.findall(value)):
        return "a URL with a password"
    if _OPEN_NAME.search(key) or _PATH_OR_URL.match(value) or _PLACEHOLDER.fullmatch(value):
        return None
    if _PASSWORD_NAME.search(key):
        return "a password" if _is_password(value) else None
    if _SECRET_NAME.search(key) and (_UUID.fullmatch(value) or is_drawn(value)):
        return "a secret by its name, and drawn by lot"
    return "drawn by lot, as secrets are" if len(value) >= _LONG and _is_long_draw(value) else None


def is_drawn(value: str) -> bool:
    """Whether the characters look drawn by lot: letters and digits that change more often than any words do."""
    if not _DRAWN.fullmatch(value):
        return False
    digits, letters = sum(map(str.isdigit, value)), sum(map(str.isalpha, value))
    return digits > 0 and letters > 0 and _changes(value) >= _CHANGES and _longest_word(value) < len(value) / 2


def _is_long_draw(value: str) -> bool:
    """Base64 of a kind that digests and commit ids (hexadecimal, of one case) are not."""
    has_both = any(map(str.isupper, value)) and any(map(str.islower, value))
    return has_both and re.fullmatch(r"[A-Za-z0-9+/_-]+={0,2}", value) is not None and is_drawn(value)


def _is_password(value: str) -> bool:
    return len(value) >= _SHORTEST_PASSWORD and not value.isspace() and value.lower() not in {"false", "true"}


def _changes(value: str) -> float:
    """How many neighbours are of different kinds; a capital in front of small letters is how words begin."""
    kinds = ["U" if char.isupper() else "l" if char.islower() else "d" if char.isdigit() else "-" for char in value]
    pairs = [pair for pair in pairwise(kinds) if "-" not in pair]
    return sum(one != other and (one, other) != ("U", "l") for one, other in pairs) / max(len(pairs), 1)


def _longest_word(value: str) -> int:
    return max((len(word) for word in _WORDS.findall(value)), default=0)
