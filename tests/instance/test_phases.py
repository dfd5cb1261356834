"""How a boot is told."""

from __future__ import annotations

from bootstrap.instance.phases import (
    BootReport,
    Phase,
    describe_failure,
    describe_phase,
    describe_reason,
    render_report,
)

FAILURE = 'cannot get "api-web" ready: exited with code 1\n  where: /log\n  | one\x1b[2J\n  | two'


def test_a_phase_is_one_line():
    assert describe_phase(Phase(name="identity", took_s=0.049)) == "identity 0.0 s"
    assert describe_phase(Phase(name="apply", took_s=31.22, failure=FAILURE)) == (
        'apply failed after 31.2 s: cannot get "api-web" ready: exited with code 1'
    )


def test_the_console_gets_the_last_lines_and_no_escape_sequence():
    assert describe_failure([FAILURE])[-2:] == ("  | one\\x1b[2J", "  | two")
    long = "\n".join(str(number) for number in range(100))
    assert describe_failure([long]) == tuple(str(number) for number in range(80, 100))


def test_a_reason_fits_into_a_tag():
    assert describe_reason([]) == ""
    assert describe_reason(["a\nb", "c"]) == "a; c"
    assert describe_reason(["x" * 300]) == "x" * 255 + "…"


def test_the_report_as_json():
    report = BootReport(
        word="failed",
        instance="i-1",
        boot="b",
        started_at="2026-01-01T00:00:00Z",
        ended_at="2026-01-01T00:00:31Z",
        tags={"bootstrap:mode": "review"},
        generation=None,
        phases=(Phase(name="identity", took_s=0.1234567), Phase(name="apply", took_s=31.0, failure="no\nreally")),
        failures=("no\nreally",),
    )
    assert render_report(report) == {
        "status": "failed",
        "reason": "no",
        "instance": "i-1",
        "boot": "b",
        "started_at": "2026-01-01T00:00:00Z",
        "ended_at": "2026-01-01T00:00:31Z",
        "tags": {"bootstrap:mode": "review"},
        "generation": None,
        "phases": [
            {"phase": "identity", "took_s": 0.123, "failure": None},
            {"phase": "apply", "took_s": 31.0, "failure": "no\nreally"},
        ],
        "failures": ["no\nreally"],
    }
