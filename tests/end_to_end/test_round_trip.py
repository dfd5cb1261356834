"""From the JSON of Heroku to what a running program finds: import, files, loader, supervisord, /proc/<pid>/environ."""

import json
import random

HEROKU = ("--app", "todo-api", "--service", "api", "--mode", "production", "--json")
KEYS = 2000
ODD = {
    "EMPTY": "",
    "LINES": "one\ntwo\n\nthree\n",
    "ONLY_NEWLINES": "\n\n",
    "WINDOWS": "one\r\ntwo\r\n",
    "BLANKS": "  both ends \t ",
    "EMOJI": "🙂👩‍🚀 ünï 你好 \u202e",
    "QUOTES": "'\"`''\"\"",
    "BACKSLASHES": "\\ \\\\ \\n \\' \\",
    "SHELL": "$HOME ${X:-y} $(id) `id` $$ ; & | > < * ? ~ # ! {a,b}",
    "PERCENT": "%(ENV_HOME)s %% %s",
    "CONTROL": "".join(map(chr, range(1, 32))) + "\x7f",
    "LONG": "0123456789abcdef" * 4096,
    "KEY_ITSELF": "KEY_ITSELF=x",
    "PEM": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
}
PIECES = [
    "a",
    "Z",
    "0",
    " ",
    "\t",
    "\n",
    "\r",
    "'",
    '"',
    "\\",
    "$",
    "%",
    "#",
    "=",
    "`",
    "\x01",
    "\x7f",
    "\x85",
    "é",
    "🙂",
]


def test_every_value_of_an_app_arrives_in_the_program_unchanged(sandbox):
    dice = random.Random(0)
    values = ODD | {f"K{number:04}": "".join(dice.choices(PIECES, k=dice.randrange(12))) for number in range(KEYS)}
    file = sandbox.root / "vars.json"
    file.write_text(json.dumps(values))
    sandbox.sleeper("api")
    sandbox.run("config", "import", "heroku", *HEROKU, str(file), tags=())
    sandbox.run("config", "verify", "heroku", *HEROKU, str(file), tags=())
    assert found(sandbox) >= {(key.encode(), value.encode()) for key, value in values.items()}


def test_every_byte_but_nul_arrives_from_an_envdir(sandbox, tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    values = {f"B{byte:02X}": b"<%c>" % byte for byte in range(1, 256)}
    values["ALL"] = bytes(range(1, 256))
    for key, value in values.items():
        (old / key).write_bytes(value.replace(b"\n", b"\0") + b"\n")
    sandbox.sleeper("api")
    target = ("--service", "api", "--mode", "production")
    sandbox.run("config", "import", "envdir", str(old), *target, tags=())
    sandbox.run("config", "verify", "envdir", str(old), *target, tags=())
    assert found(sandbox) >= {(key.encode(), value) for key, value in values.items()}


def found(sandbox):
    """The environment of the one program, as the kernel has it."""
    sandbox.run("up", tags=("mode=production", "service=api"))
    return set(sandbox.environ_of(sandbox.pids()["api-web"]).items())
