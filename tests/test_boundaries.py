"""The rule that holds the house up: stages are pure, and only the command line prints or exits."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bootstrap"
OUTSIDE = {"bootstrap.world", "boto3", "psutil", "subprocess", "socket", "time", "random"}
BOTH_SIDES = {"__main__.py", "boot.py", "control.py", "doctor.py", "watch.py"}  # beside cli/
PURE_ROOMS = ("config", "instance", "reading")
STAGES = sorted(
    path
    for path in [*PACKAGE.glob("*.py"), *(path for room in PURE_ROOMS for path in (PACKAGE / room).glob("*.py"))]
    if path.name not in BOTH_SIDES
)
SILENT = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if path.relative_to(PACKAGE).parts[0] != "cli" and path != PACKAGE / "__main__.py"
)


def imports(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "bootstrap" + (f".{node.module}" if node.module else "") if node.level else node.module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def breaches(source):
    return {name for name in imports(source) if any(f"{name}.".startswith(f"{outside}.") for outside in OUTSIDE)}


def exits_and_prints(source):
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id="print" | "exit" | "quit")):
                yield ast.unparse(node)
            case ast.Attribute(value=ast.Name(id="sys"), attr="exit") | ast.Name(id="SystemExit"):
                yield ast.unparse(node)


@pytest.mark.parametrize("path", STAGES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_stage_imports_nothing_that_blocks_or_fails_or_varies(path):
    assert breaches(path.read_text()) == set()


@pytest.mark.parametrize("path", SILENT, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints_or_exits(path):
    assert list(exits_and_prints(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os, socket",
        "import time as clock",
        "from time import sleep",
        "from bootstrap import world",
        "from bootstrap.world import disk",
        "from bootstrap.world.disk import write_durably",
        "from . import world",
        "from .world.disk import write_durably",
        "def f():\n    import boto3.session",
    ],
)
def test_a_breach_would_be_noticed(source):
    assert breaches(source)


@pytest.mark.parametrize("source", ["import timeit", "from datetime import time", "from bootstrap.worldly import x"])
def test_a_similar_name_is_no_breach(source):
    assert not breaches(source)


@pytest.mark.parametrize("source", ["print(1)", "sys.exit(2)", "exit()", "raise SystemExit(1)", "raise SystemExit"])
def test_a_print_or_an_exit_would_be_noticed(source):
    assert list(exits_and_prints(source))


def test_supervisord_is_not_burdened_with_what_only_commands_need():
    """It is resident on every box; each of these would cost it half a megabyte or more."""
    heavy = {"bootstrap.definition", "bootstrap.world.store", "bootstrap.world.probes", "subprocess", "yaml", "click"}
    loaded = "import sys, bootstrap.world.plugin; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", loaded], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())
