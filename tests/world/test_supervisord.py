"""What a supervisor answers is read with care: it may be of another version, or not ours at all."""

from __future__ import annotations

import pytest

from bootstrap.box import Box
from bootstrap.errors import Unavailable
from bootstrap.world.supervisord import Supervisor


class Answering:
    def __init__(self, answer):
        self._answer = answer

    def ask(self, *_):
        return

    def answer(self):
        return self._answer


@pytest.mark.parametrize(
    "answer",
    [5, [], None, "nope", "{}", "[]", '{"pid": 1, "fields": ["name"], "rows": [["x"]]}', '{"pid": 1, "rows": 1}'],
)
def test_an_answer_that_makes_no_sense_is_told(answer):
    supervisor = Supervisor(Answering(answer), Box(root="/r", state="/s"))
    with pytest.raises(Unavailable, match=r"cannot understand supervisord at /s/run/supervisord\.sock: "):
        supervisor.observe()
