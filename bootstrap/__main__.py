"""The command ``bootstrap``, and what a link to it may be named after: ``sv``, ``chpst``, or a service."""

import _signal  # type: ignore[import-not-found]  # the module signal costs chpst more than all the rest; no stubs
import gc
import os
import sys

CHPST_NAMES = {"chpst", "envdir", "envuidgid", "pgrphack", "setlock", "setuidgid", "softlimit"}
CHPST_NAMES |= {f"d{name}" for name in CHPST_NAMES}


def main() -> None:
    """Run the verb that was typed; see ``bootstrap.cli.main``.

    ``chpst`` changes this very process and becomes another program: it must find it as it was given, and at once. So it
    comes before anything of ours is imported, opened or set.
    """
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # until somebody can tell about it without a traceback
    gc.disable()  # what is imported stays: looking for garbage among it takes a twelfth of a short life
    name = _name_of_link()
    if name in CHPST_NAMES:
        sys.argv.insert(0, name)
    if (name in CHPST_NAMES or sys.argv[1:2] == ["chpst"]) and sys.argv[2:] != ["--help"]:
        from runit_compat.chpst import main as run_chpst  # noqa: PLC0415 - see above

        run_chpst(sys.argv[1:])
    if name is not None or (sys.argv[1:2] == ["sv"] and sys.argv[2:] != ["--help"]):
        from runit_compat.sv_entry import main as run_sv  # noqa: PLC0415 - see above

        run_sv(["sv", *sys.argv[2:]] if name is None else [name, *sys.argv[1:]])
    from bootstrap.cli.main import main as run_verb  # noqa: PLC0415 - see above

    run_verb()


def _name_of_link() -> str | None:
    """What we are called through a link of another name; ``None`` for ourselves, however we were installed."""
    name = os.path.basename(sys.argv[0])
    is_ours = name.startswith(("bootstrap", "__main__", "-"))
    return None if is_ours or not name or not os.path.islink(sys.argv[0]) else name


if __name__ == "__main__":
    main()
