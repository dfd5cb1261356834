"""Git repositories elsewhere → commits here: what they have, the delta in a mirror, a tree of files.

A mirror is a bare repository of ours with every branch and tag, `<state>/mirrors/<digest of the address>.git`. Where
the image brings one along (`<root>/mirrors/<service>.git`, as `git clone --mirror` makes it) its objects are used where
they stand, and only what is newer is fetched.

git runs apart (see ``apart``), with nothing of the caller's environment or configuration; hooks, filters, submodules
and every protocol but the one of the address are off. Files are written by `checkout-index`: with no filter configured
it runs nothing, and it refuses paths such as `.git/config` and `../x`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from typing import TYPE_CHECKING

from bootstrap.checkout import Listing, parse_listing, show_address
from bootstrap.digest import digest_of
from bootstrap.errors import DefinitionError, Unavailable
from bootstrap.spelling import harmless, quoted
from bootstrap.world import clock, store
from bootstrap.world.code import apart
from bootstrap.world.code.git_access import WAY_IN, Access, opened

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from bootstrap.box import Box

LARGEST_TREE = 4 * 1024**3  # bytes
MOST_FILES = 1_000_000
_LOCAL_S = 300.0  # what the disk may take, beside the network's deadline
_PATH = "/usr/local/bin:/usr/bin:/bin"
_UPLOAD_PACK = "git -c safe.directory=* upload-pack"  # of a repository on this machine: it is read by a stranger
_EVERYTHING = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_CLOSED = re.compile("could not read Username|Authentication failed|Permission denied|Host key verification failed")
_PROXIES = ("http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY")
_FETCH = ("--quiet", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules")
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.fsync": "all",
    "core.protectNTFS": "true",
    "core.protectHFS": "true",
    "core.symlinks": "true",
    "protocol.version": "2",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "fetch.writeCommitGraph": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "credential.helper": "",
    "remote.origin.tagOpt": "--no-tags",
}


class OutOfReachError(Exception):
    """A source did not answer as it should in time: why, for the end of a sentence, and perhaps a way out."""


class EmptyError(OutOfReachError):
    """It is there, and has nothing yet."""


class Mirror:
    """What this box knows of the repository at one address."""

    def __init__(self, box: Box, url: str, service: str, *, keep: bool) -> None:
        self._box = box
        self._mark = apart.mark(box) if keep else {}  # whoever only looks may do so beside an `up`
        self._url = url
        self._service = service
        self._seed = _find_seed(box, service)
        self.path = f"{box.mirrors}/{digest_of(url.encode(), 8)}.git"

    def list_remote(self, deadline: float) -> Listing:
        """Ask what it has; raises OutOfReachError."""
        with opened(self._url, self._service) as access:
            done = self._run_remote(access, ("ls-remote", "--symref", "origin"), deadline)
        return _checked(parse_listing(done.stdout.decode(errors="replace")))

    def list_known(self) -> Listing | None:
        """What it had when it was last asked, here or by whoever made the image; ``None`` if nobody knows."""
        for path in (self.path, self._seed):
            if path is not None and os.path.isdir(path):
                access = Access(address=path, protocol="file", settings={}, environ={})
                try:
                    done = self._run_remote(access, ("ls-remote", "--symref", "origin"), clock.now() + _LOCAL_S)
                    return _checked(parse_listing(done.stdout.decode(errors="replace")))
                except OutOfReachError:
                    continue  # damaged: as good as none
        return None

    def find_commit(self, ref: str) -> str | None:
        """The whole id of a commit that is here."""
        if not os.path.isdir(self.path):
            return None
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        done = self._run_here(words)
        return done.stdout.decode().strip() or None if done.returncode == 0 else None

    def fetch(self, default: str | None, deadline: float) -> None:
        """Bring every branch and tag up to date; a damaged mirror is made anew. Raises OutOfReachError."""
        is_new = not os.path.isdir(self.path)
        if is_new:
            self._make()
        else:
            self._unlock()
        try:
            self._fetch(default, deadline)
        except OutOfReachError:
            if is_new or clock.now() >= deadline:
                raise
            self.remove()
            self._make()
            self._fetch(default, deadline)

    def prepare(self) -> None:
        """Take over what the image brought along, so that its commits can be had without the repository."""
        if self._seed is not None and not os.path.isdir(self.path):
            self._make()

    def remove(self) -> None:
        store.remove_entry(self.path)

    def write_tree(self, commit: str, directory: str) -> list[str]:
        """Write the files of a commit into an empty directory of the stranger's; the answer is its submodules.

        Raises DefinitionError for a tree that can't be a service's code, Unavailable when the disk refuses.
        """
        submodules = self._check_size(commit)
        index = {"GIT_INDEX_FILE": f"{directory}/.git", "GIT_WORK_TREE": directory}
        for words in (("read-tree", commit), ("checkout-index", "--all", "--quiet")):
            done = self._run_here(words, index)
            if done.returncode != 0:
                raise self._unusable(commit, _last_words(done))
        os.unlink(f"{directory}/.git")  # no tree can hold this name, so the index was in nobody's way
        return submodules

    def _check_size(self, commit: str) -> list[str]:
        try:
            done = self._run_here(("ls-tree", "-r", "-l", "-z", "--full-tree", commit))
        except apart.TooMuchError:
            raise self._unusable(commit, f"it has more files than can be listed; {MOST_FILES} is the limit") from None
        if done.returncode != 0:
            raise self._unusable(commit, _last_words(done))
        total, submodules = 0, []
        entries = done.stdout.split(b"\0")[:-1]
        for entry in entries:
            facts, _, path = entry.partition(b"\t")
            mode, _, _, size = facts.split()
            if mode == b"160000":
                submodules.append(harmless(os.fsdecode(path)))
            total += int(size) if size.isdigit() else 0
        if len(entries) > MOST_FILES or total > LARGEST_TREE:
            raise self._unusable(
                commit, f"it has {len(entries)} files of {total} bytes; {MOST_FILES} and {LARGEST_TREE} are the limits"
            )
        return submodules

    def _unusable(self, commit: str, cause: str) -> DefinitionError:
        return DefinitionError(
            f"cannot check out commit {commit[:8]} of service {quoted(self._service)}: {cause}\n"
            f"  where: {show_address(self._url)}\n"
            "  way out: mend it there, or name another ref; what ran before still runs"
        )

    def _make(self) -> None:
        """A new mirror, with what the image brought along; it appears whole or not at all."""
        stranger = apart.read_stranger()
        partial = f"{self._box.mirrors}/.new-{os.path.basename(self.path)}"
        store.remove_tree(partial)
        apart.make_strangers(partial, stranger)
        done = _run(
            ("init", "--quiet", "--bare", "--template=", partial), {}, "none", clock.now() + _LOCAL_S, self._mark
        )
        if done.returncode != 0:
            raise Unavailable(f'cannot make the mirror "{self.path}": {_last_words(done)}')
        if self._seed is not None:
            self._plant(partial, self._seed)
        os.rename(partial, self.path)

    def _plant(self, partial: str, seed: str) -> None:
        """Use the objects of the image's mirror where they stand, and take over its refs."""
        with open(f"{partial}/objects/info/alternates", "x", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(f"{seed}/objects\n")
        access = Access(address=seed, protocol="file", settings={}, environ={})
        here = {"GIT_DIR": partial}
        try:
            listing = self.list_known()
            self._run_remote(access, ("fetch", *_FETCH, "origin", *_EVERYTHING), clock.now() + _LOCAL_S, here)
        except OutOfReachError:
            os.unlink(f"{partial}/objects/info/alternates")  # it is damaged, or can't be read: do without
            return
        if listing is not None and listing.default is not None:
            _run(("symbolic-ref", "HEAD", f"refs/heads/{listing.default}"), here, "none", clock.now() + 60, self._mark)

    def _unlock(self) -> None:
        """Nobody else is at it: a lock that is there is of somebody who was killed."""
        for folder, _, names in os.walk(self.path):
            for name in names:
                if name.endswith(".lock"):
                    os.unlink(f"{folder}/{name}")

    def _fetch(self, default: str | None, deadline: float) -> None:
        here = {"GIT_DIR": self.path}
        with opened(self._url, self._service) as access:
            self._run_remote(access, ("fetch", *_FETCH, "--prune", "origin", *_EVERYTHING), deadline, here)
        if default is not None:
            self._run_here(("symbolic-ref", "HEAD", f"refs/heads/{default}"))

    def _run_remote(
        self, access: Access, words: tuple[str, ...], deadline: float, extra: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        settings = {"remote.origin.url": access.address, **access.settings}
        if access.protocol == "file":
            settings["remote.origin.uploadpack"] = _UPLOAD_PACK
        environ = {**access.environ, **(extra or {}), **_render_settings(settings)}
        if access.protocol in {"http", "https"}:
            environ |= {name: os.environ[name] for name in _PROXIES if name in os.environ}
        try:
            done = _run(words, environ, access.protocol, deadline, self._mark)
        except apart.LateError:
            raise OutOfReachError("it did not answer in time") from None
        except apart.TooMuchError:
            raise OutOfReachError("it answered with more than anybody could use") from None
        if done.returncode != 0:
            cause = _last_words(done)
            raise OutOfReachError(cause, *([WAY_IN] if _CLOSED.search(cause) else []))
        return done

    def _run_here(
        self, words: tuple[str, ...], extra: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        try:
            return _run(words, {"GIT_DIR": self.path, **(extra or {})}, "none", clock.now() + _LOCAL_S, self._mark)
        except apart.LateError:
            raise Unavailable(
                f'cannot read the mirror "{self.path}": git {words[0]} took longer than {_LOCAL_S:.0f} s\n'
                "  way out: see what holds up the disk, and run the command again"
            ) from None


def tidy_mirrors(box: Box) -> None:
    """Let git pack what many deltas have left, where it finds that worth while; nothing depends on it."""
    environ = _render_settings({"gc.auto": "6700", "gc.autoDetach": "false"})
    for name in os.listdir(box.mirrors):
        if name.endswith(".git"):
            with contextlib.suppress(apart.LateError, apart.TooMuchError):
                words = ("gc", "--auto", "--quiet")
                _run(words, {**environ, "GIT_DIR": f"{box.mirrors}/{name}"}, "none", clock.now() + 60, apart.mark(box))


def _checked(listing: Listing) -> Listing:
    if not listing.branches and not listing.tags:
        raise EmptyError("it is empty: nothing has been pushed there")
    return listing


def _find_seed(box: Box, service: str) -> str | None:
    """The mirror that the image brings along, bare or not."""
    for path in (f"{box.root}/mirrors/{service}.git", f"{box.root}/mirrors/{service}/.git"):
        if os.path.isdir(f"{path}/objects") and "\n" not in path and '"' not in path:
            return path
    return None


def _run(
    words: tuple[str, ...], extra: Mapping[str, str], protocol: str, deadline: float, mark: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    git = shutil.which("git", path=_PATH)
    if git is None:
        raise Unavailable("cannot fetch the code of services: git is not installed\n  way out: install git")
    base = {
        "PATH": _PATH,
        "HOME": os.environ.get("HOME", "/nonexistent") if apart.read_stranger() is None else "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": protocol,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_LFS_SKIP_SMUDGE": "1",
    }
    if apart.read_stranger() is None and "SSH_AUTH_SOCK" in os.environ:
        base["SSH_AUTH_SOCK"] = os.environ["SSH_AUTH_SOCK"]
    environ = {**base, **_render_settings({}), **extra, **mark}
    return apart.run([git, "--no-pager", *words], environ, deadline=deadline)


def _render_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings that lie over those of every file; see git(1) GIT_CONFIG_COUNT."""
    every = {**_SETTINGS, **settings}
    rendered = {"GIT_CONFIG_COUNT": str(len(every))}
    for number, (key, value) in enumerate(every.items()):
        rendered |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return rendered


def _last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    """What went wrong; the other side may have said a lot before."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    fatal = [
        line.removeprefix("fatal: ").removeprefix("error: ")
        for line in lines
        if line.startswith(("fatal: ", "error: "))
    ]
    if not lines:
        return f"git ended with exit code {done.returncode}"
    return harmless((fatal or lines)[0].removesuffix("."))[:300]
