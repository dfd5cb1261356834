"""A verb on a small stack, as often as one likes from the same state."""

from __future__ import annotations

from support.kept_stack import KeptStack, has_verb

ARGUMENTS = {"up from nothing": "up", "change": "up", "down": "down", "rollback": "rollback"}
VERBS = ["up from nothing", "change", "down", *(["rollback"] * has_verb("rollback"))]


class Repeated:
    """``prepare``, then the verb, disturbed, then ``mend``."""

    def __init__(self, sandbox, verb):
        self.sandbox = sandbox
        self.stack = KeptStack(sandbox, ["ordinary", "leaves"])
        self.argument = ARGUMENTS[verb]
        self.keeps = verb in {"change", "rollback"}  # whether "leaves" must stay as it is
        self._verb = verb
        self._changes = 0

    def prepare(self):
        """Reach the state that the verb begins in."""
        if self._verb == "rollback" and not self._changes:
            self._changes += 1
            self.stack.change(["ordinary"], "later")
            self.mend()
        if self._verb == "up from nothing":
            self.stack.down()
        elif self._verb == "change":
            self._changes += 1
            self.stack.change(["ordinary"], f"shade{self._changes}")
            self.stack.let_settle()  # else whether it is remembered, which is a write, is a matter of luck

    def mend(self):
        self.stack.up()
        self.stack.check()
