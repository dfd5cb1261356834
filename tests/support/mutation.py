"""Documents that are nearly right: valid ones with bytes changed, lost, doubled and put elsewhere."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LONG = bool(os.environ.get("BOOTSTRAP_TEST_LONG"))
TOKENS = [
    b"\x00", b"\xff", b"\r\n", b"\n", b"\t", b":", b"- ", b"{", b"}", b"[", b"]", b'"', b"'", b"&a", b"*a", b"!!python/x ",
    b"null", b"true", b"-1", b"9" * 400, b"1e999", b"../", b"\xe2\x80\xae", b"<<: ", b"%", b"#", b"=", b"$(id)", b"`id`",
    b"<value>", b"</array>", b"[" * 3000, b'{"a":' * 3000,
]  # fmt: skip


def examples(count):
    """Settings for a fuzz test: fifty times as many in the long run."""
    return settings(
        max_examples=count * 50 if LONG else count,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


@st.composite
def mutated(draw, *seeds):
    """One of the seeds, changed in up to six places."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 12))
        change = draw(st.sampled_from(["insert", "delete", "replace", "double", "cut"]))
        if change == "insert":
            content[at:at] = draw(st.sampled_from(TOKENS) | st.binary(max_size=8))
        elif change == "delete":
            del content[at : at + length]
        elif change == "replace":
            content[at : at + length] = draw(st.binary(max_size=length))
        elif change == "double":
            content[at:at] = content[max(0, at - length * 4) : at]
        else:
            del content[at:]
    return bytes(content)
