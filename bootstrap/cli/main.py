"""The verbs, the options that stand before them, and the one place where errors become exit codes."""

from __future__ import annotations

import gc
import importlib
import io
import keyword
import os
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

import click

import bootstrap
from bootstrap.box import Box
from bootstrap.cli.colour import refuses_colour
from bootstrap.cli.options import with_verbosity
from bootstrap.cli.settings import Settings
from bootstrap.errors import BootstrapError
from bootstrap.world.place import find_box

if TYPE_CHECKING:
    from collections.abc import Iterator

# verb → module: one is imported when it is typed, so that none waits for the others' imports
VERBS = {
    "boot": "bootstrap.cli.boot",
    "chpst": "bootstrap.cli.chpst",
    "config": "bootstrap.cli.config",
    "doctor": "bootstrap.cli.doctor",
    "down": "bootstrap.cli.down",
    "drain": "bootstrap.cli.drain",
    "export": "bootstrap.cli.export",
    "generations": "bootstrap.cli.generations",
    "identity": "bootstrap.cli.identity",
    "import": "bootstrap.cli.import_",
    "logs": "bootstrap.cli.logs",
    "plan": "bootstrap.cli.up",
    "ps": "bootstrap.cli.status",
    "reload": "bootstrap.cli.control",
    "restart": "bootstrap.cli.control",
    "rollback": "bootstrap.cli.rollback",
    "run": "bootstrap.cli.run",
    "start": "bootstrap.cli.control",
    "status": "bootstrap.cli.status",
    "stop": "bootstrap.cli.control",
    "sv": "bootstrap.cli.sv",
    "undrain": "bootstrap.cli.drain",
    "up": "bootstrap.cli.up",
}
EXIT_UNTOLD = 1
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
_FINISHED_BY_UP = {"boot", "up"}
_FINISHED_BY_ITSELF = {"down", "drain", "reload", "restart", "rollback", "start", "stop", "undrain"}
_BEFORE_THE_VERB = {"--root", "--state", "--last-identity", "--version"}
_TAGS = {"mode", "service", "process", "ref", "scale"}
_EPILOG = """\b
Exit codes:
  0 done                    2 the input is wrong        75 try again
  1 something failed        3 not converged (status)   124 deadline
  70 a bug                  130 interrupted            run: the command's own

\b
Variables:
  BOOTSTRAP_ROOT, BOOTSTRAP_STATE   what --root and --state say
  BOOTSTRAP_TAG_TIMEOUT             seconds to wait for tags on EC2 (120)
  BOOTSTRAP_RPC_TIMEOUT             seconds a supervisor may be silent (15)
  BOOTSTRAP_SOURCE_TIMEOUT          seconds that fetching code may take (60)
  BOOTSTRAP_CREDENTIALS             deploy keys and tokens for it (/etc/bootstrap/credentials)
  NO_COLOR                          no colours
"""


def _attribute(verb: str) -> str:
    return f"{verb}_" if keyword.iskeyword(verb) else verb


class NobodyReadsError(Exception):
    """Whoever read what we print has had enough; click would make a failure of it."""


@contextmanager
def _noticing_who_reads() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise NobodyReadsError from None


class Verbs(click.Group):
    """A group that imports a verb when it is asked for."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with _noticing_who_reads():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _noticing_who_reads():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(VERBS[cmd_name]), _attribute(cmd_name))
        return with_verbosity(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-"):
            raise click.UsageError(f'no such verb "{args[0]}"{_nearest_verb(ctx, args[0])}', ctx)
        return super().resolve_command(ctx, args)


def _nearest_verb(context: click.Context, typed: str) -> str:
    from bootstrap.cli.config import config  # noqa: PLC0415 - only for typing errors
    from bootstrap.spelling import did_you_mean  # noqa: PLC0415 - likewise

    return f'; did you mean "config {typed}"?' if typed in config.list_commands(context) else did_you_mean(typed, VERBS)


@click.command(
    cls=Verbs, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option("--root", metavar="DIR", help="Directory with services/ and config/ (default: the nearest one above).")
@click.option("--state", metavar="DIR", help="Where sockets, logs and generations are kept.")
@click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, help="A tag that lies over all others; repeatable.")
@click.option("--tags-file", metavar="FILE", help="Read the tags from this dotenv file.")
@click.option("--last-identity", is_flag=True, help="Use the tags of the last run instead of reading them.")
@click.option("-v", "--verbose", count=True, help="Say more.")
@click.option("-q", "--quiet", count=True, help="Say less.")
@click.version_option(bootstrap.__version__, prog_name="bootstrap")
@click.pass_context
def cli(
    context: click.Context,
    root: str | None,
    state: str | None,
    tags: tuple[str, ...],
    tags_file: str | None,
    *,
    last_identity: bool,
    verbose: int,
    quiet: int,
) -> None:
    """A box reads its tags and becomes what they say.

    Example: bootstrap --tag mode=review up
    """
    if refuses_colour(os.environ):
        context.color = False
    is_asking = not {"-h", "--help"}.isdisjoint(_our_words())  # how a verb works can be asked anywhere
    context.obj = Settings(
        box=Box(root="", state="") if is_asking else find_box(root, state, os.environ),
        tags=tags,
        tags_file=tags_file,
        last_identity=last_identity,
        verbosity=verbose - quiet,
    )


def main() -> NoReturn:
    """Run the verb that was typed; the exit code says how it went (see "Verbs" in the README)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # see ``bootstrap.__main__``
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _open_standard_files()
    os.umask(0o077)  # what we write is ours; every file that is not gets its mode explicitly
    gc.set_threshold(100_000)  # a verb lives for milliseconds and makes values, hardly any cycles
    gc.enable()  # see ``bootstrap.__main__``; but `boot` lives for months
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except BootstrapError as error:
        _fail(error.exit_code, type(error).__name__, str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        _exit(2)
    except click.ClickException as error:
        _fail(2, "UsageError", _describe_usage(error))
    except (KeyboardInterrupt, click.Abort):
        _fail(EXIT_INTERRUPTED, "Interrupted", f"interrupted{_way_on()}")
    except (BrokenPipeError, NobodyReadsError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads on: not even our own flush may complain
        _exit(0)  # a verb that changes something does not stop at that: see ``output.say``
    except Exception as error:  # noqa: BLE001 - the one place for what nobody expected
        if isinstance(error, OSError) and error.filename is None and _is_full(1):
            _fail(EXIT_UNTOLD, "Untold", f"cannot write to standard output: {error.strerror or error}")
        _fail(EXIT_BUG, "Bug", _describe_bug(error))
    _exit(code if isinstance(code, int) else 0)


def _describe_usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    help_ = f'\n  see "{context.command_path} --help"' if context is not None else ""
    if not isinstance(error, click.NoSuchOption):
        return error.format_message() + help_
    return f"{error.message}{_describe_option(error)}{help_}"


def _describe_option(error: click.NoSuchOption) -> str:
    """What was meant by an option that is not there."""
    tag = error.option_name.removeprefix("--")
    near = [one for one in error.possibilities or () if one != "--force"]  # which is nobody's spelling mistake
    if error.option_name in _BEFORE_THE_VERB:
        return " It stands before the verb."
    if tag in _TAGS:
        return f" It is a tag, and stands before the verb: --tag {tag}=…"
    return f" Did you mean {' or '.join(near)}?" if near else ""


def _open_standard_files() -> None:
    """With one of 0, 1, 2 closed, the next file we open would get its number, and what we print would go there."""
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            break
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - os takes it by position only
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - it lives as long as we do
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - likewise
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - likewise
    if isinstance(sys.stdout, io.TextIOWrapper):  # what it has no character for is escaped, and no bug
        sys.stdout.reconfigure(errors="backslashreplace")


def _way_on() -> str:
    """What finishes the verb that was interrupted; the others have begun nothing, or have undone it."""
    verb = next((word for word in _our_words() if word in VERBS), None)
    if verb in _FINISHED_BY_UP:
        return '; run "bootstrap up" to finish what was begun'
    return "; run it again to finish what was begun" if verb in _FINISHED_BY_ITSELF else ""


def _our_words() -> list[str]:
    """What was typed, without the command that ``run`` runs."""
    return sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]


def _fail(code: int, kind: str, message: str) -> NoReturn:
    if _wants_json():
        import json  # noqa: PLC0415 - only for errors that a program reads

        with suppress(OSError):  # it may be what the error is about
            sys.stdout.write(json.dumps({"error": {"type": kind, "message": message, "exit": code}}) + "\n")
    head = click.style("error: ", fg="red", bold=True)
    click.echo(head + message, err=True, color=False if refuses_colour(os.environ) else None)
    _exit(code)


def _wants_json() -> bool:
    words = _our_words()
    names_a_file = any(words[at : at + 2] in (["import", "heroku"], ["verify", "heroku"]) for at in range(len(words)))
    return "--json" in words and not names_a_file


def _is_full(descriptor: int) -> bool:
    """Whether the disk behind it takes no byte more; nothing but a try can tell."""
    try:
        os.write(descriptor, b"\n")
    except OSError:
        return True
    return False


def _exit(code: int) -> NoReturn:
    """Leave without the interpreter's tidying-up, which takes longer than much of what we do."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)


def _describe_bug(error: Exception) -> str:
    """One line for the terminal; the traceback, without any values, goes to a log of ours."""
    import tempfile  # noqa: PLC0415 - only for bugs
    import traceback  # noqa: PLC0415 - likewise

    text = "".join(traceback.format_tb(error.__traceback__)) + f"{type(error).__name__}: {_first_line(error)}\n"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="bootstrap-bug-", suffix=".log", delete=False) as file:
            file.write(text)
    except OSError:  # a disk that takes no more is when bugs show
        where = f"\n{text.rstrip()}"
    else:
        where = f"the traceback is in {file.name}"
    return (
        f"this is a bug in bootstrap: {type(error).__name__}: {_first_line(error)}\n"
        f"  where: {where}\n  way out: please report it; what ran before still runs"
    )


def _first_line(error: Any) -> str:
    return (str(error).splitlines() or [""])[0][:200]
