"""What a command line starts."""

from __future__ import annotations

import pytest

from bootstrap.command import program_of


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("uvicorn api:app", "uvicorn"),
        ("exec ./bin/web --port 1", "./bin/web"),
        ("exec", None),
        ("A=1 web", None),
        ("exec -a name web", None),
        ("exec $PROGRAM", None),
        ('exec "web"', None),
        ("exec ~/web", None),
        ("web | tee log", None),
        ("cd app && exec web", None),
        ("exec web; true", None),
        ("true", None),
        ("exec [ -e x ]", None),
    ],
)
def test_a_simple_command_names_its_program(command, program):
    assert program_of(command) == program
