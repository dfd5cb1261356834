"""The Heroku CLI → the config vars of an app, as JSON."""

from __future__ import annotations

import re
import subprocess

from bootstrap.errors import Refused, Unavailable
from bootstrap.spelling import harmless, quoted

_APP = re.compile(r"[a-z][a-z0-9-]{1,29}")  # Heroku's own rule; it also keeps options out of the argument list
_PATIENCE_S = 60.0


def read_config_vars(app: str, patience_s: float = _PATIENCE_S) -> bytes:
    """What ``heroku config --json --app APP`` prints; raises Refused and Unavailable.

    The command inherits our environment, because its login is there and in the home directory.
    """
    if not _APP.fullmatch(app):
        raise Refused(
            f"cannot read the config vars of {quoted(app)}: it is no name of a Heroku app\n"
            "  way out: give the app's name, such as my-app"
        )
    failure = f"cannot read the config vars of {quoted(app)}"
    try:
        done = subprocess.run(
            ["heroku", "config", "--json", "--app", app],  # noqa: S607 - whichever heroku the user has in his PATH
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=patience_s,
            check=False,
        )
    except FileNotFoundError:
        raise Unavailable(
            f"{failure}: the Heroku CLI is not installed here\n"
            f'  way out: where it is, run "heroku config --json --app {app}" and name its output with --json FILE'
        ) from None
    except subprocess.TimeoutExpired:
        raise Unavailable(
            f"{failure}: the Heroku CLI did not answer within {patience_s:g} s\n  way out: run the command again"
        ) from None
    if done.returncode != 0:
        said = harmless(done.stderr.decode(errors="replace").strip().partition("\n")[0])
        raise Unavailable(
            f"{failure}: the Heroku CLI said: {said or f'nothing, with exit code {done.returncode}'}\n"
            '  way out: see that "heroku auth:whoami" works, and that the app is yours'
        )
    return done.stdout
