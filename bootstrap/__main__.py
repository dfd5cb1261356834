"""The command ``bootstrap``."""

import sys


def main() -> None:
    """Run the verb that was typed; see ``bootstrap.cli.main``.

    ``chpst`` changes this very process and becomes another program: it must find it as it was given, and at once. So it
    comes before anything of ours is imported, opened or set.
    """
    if sys.argv[1:2] == ["chpst"] and sys.argv[2:] != ["--help"]:
        from runit_compat.chpst import main as run_chpst  # noqa: PLC0415 - see above

        run_chpst(sys.argv[1:])
    from bootstrap.cli.main import main as run_verb  # noqa: PLC0415 - see above

    run_verb()


if __name__ == "__main__":
    main()
