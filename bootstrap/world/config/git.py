"""git, called in this one place: what others have written into a repository is data here and never runs.

Hooks, file system monitors, filters, text converters, pagers, editors, credential helpers, submodules, replaced objects
and every network transport are off; nothing of the caller's environment or configuration is heeded, and revisions and
paths can't be taken for options. As root in somebody else's repository git runs as its owner: whatever a setting of his
could still start would be his own. See git(1) "ENVIRONMENT VARIABLES" and git-config(1).
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from functools import cache
from typing import TYPE_CHECKING, Any

from bootstrap.errors import Unavailable
from bootstrap.spelling import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TIMEOUT_S = 60.0
SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "core.attributesFile": "/dev/null",
    "core.quotePath": "false",
    "core.useReplaceRefs": "false",
    "protocol.allow": "never",
    "submodule.recurse": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "commit.gpgSign": "false",
    "log.showSignature": "false",
    "diff.external": "",
    "credential.helper": "",
    "log.showRoot": "true",
    "log.follow": "false",
    "diff.orderFile": "/dev/null",
    "log.mailmap": "false",
    "mailmap.file": "/dev/null",
    "mailmap.blob": "",
    "core.excludesFile": "/dev/null",
    "blame.ignoreRevsFile": "",
    "commit.template": "/dev/null",
    "i18n.commitEncoding": "UTF-8",
    "i18n.logOutputEncoding": "UTF-8",
}
_ENVIRON = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": "/dev/null",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LITERAL_PATHSPECS": "0",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "false",
    "GIT_ASKPASS": "false",
    "GIT_SSH_COMMAND": "false",
}


def run_git(
    directory: str,
    owner: int,
    words: Sequence[str],
    content: bytes | None = None,
    extra: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run it in a directory, as root in the name of its owner; ``extra`` is environment. Raises Unavailable."""
    is_foreign = os.geteuid() == 0 != owner
    become: dict[str, Any] = {"user": owner, "group": _group_of(owner), "extra_groups": []} if is_foreign else {}
    try:
        return subprocess.run(
            [_find_git(), "--no-pager", *words],
            input=content if content is not None else b"",
            capture_output=True,
            cwd=directory,
            env={**_ENVIRON, **render_settings(SETTINGS), **(extra or {})},
            timeout=TIMEOUT_S,
            check=False,
            **become,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(
            f"cannot read the repository of {directory}: git {words[0]} took longer than {TIMEOUT_S:.0f} s"
        ) from None


def render_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings that lie over those of every file; see git(1) GIT_CONFIG_COUNT."""
    rendered = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        rendered |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return rendered


@cache
def _find_git() -> str:
    found = shutil.which("git", path=_ENVIRON["PATH"])
    if found is None:
        raise Unavailable(
            "cannot look into the past of the configuration: git is not installed\n  way out: install git"
        )
    return found


def _group_of(uid: int) -> int:
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return uid


def last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    """What went wrong; behind it git may give several lines of advice."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    fatal = [line.removeprefix("fatal: ") for line in lines if line.startswith("fatal: ")]
    if not lines:
        return f"exit code {done.returncode}"
    return harmless((fatal or lines)[-1])
