"""A git repository: its commits, trees and lines, read as data; and one commit of exactly these files."""

from __future__ import annotations

import os
import pwd
import re
from typing import TYPE_CHECKING

from bootstrap.config.commits import ABSENT, LOG_FORMAT, Change, parse_log
from bootstrap.errors import DefinitionError, Refused, Unavailable
from bootstrap.frozen import dataclass
from bootstrap.spelling import quoted
from bootstrap.world.config.git import SETTINGS, last_words, render_settings, run_git

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Iterator, Mapping, Sequence

LARGEST = 1024 * 1024  # bytes; no file of ours is larger, and whoever packed ten GiB of zeros shall not fill our memory
TOO_LARGE = b" " * (LARGEST + 1)
_LONGEST_NAME = 255  # characters: NAME_MAX
_BLOB, _LINK, _MODULE = "100", "120", "160"
_WRITING = {"hash-object", "read-tree", "write-tree", "commit-tree", "update-index", "update-ref"}
_UNDER_WAY = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "sequencer": "cherry-pick or revert",
}
_PERSON = ("user.name", "user.email")
# Commands whose names others choose. Their other settings, such as diff.algorithm, git would not take when emptied.
_BLAMED = re.compile(rb"[0-9a-f]{40,64} \d+ \d+")  # how the porcelain begins what it tells of a line
_NAMED = r"^(filter|diff|merge)\..*\.(clean|smudge|process|required|command|textconv|driver)$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Whom a commit names."""

    name: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One regular file of a tree."""

    path: str  # from the top of the repository
    blob: str


class Repository:
    """The repository that a directory stands in; ``prefix`` is the directory's path in it, with a slash, or nothing."""

    def __init__(self, top: str, prefix: str, owner: int) -> None:
        self._owner = owner
        self._settings = SETTINGS | _read_disarmed(top, owner)
        self.top = top
        self.prefix = prefix

    def run(self, *words: str, content: bytes | None = None, extra: Mapping[str, str] | None = None) -> bytes:
        """What git prints; raises Unavailable when it fails, with its own words."""
        done = self._run(words, content, extra)
        if done.returncode != 0:
            verb = "write to" if words[0] in _WRITING else "read"
            raise Unavailable(
                f"cannot {verb} the repository {self.top}: git {words[0]}: {last_words(done)}\n"
                "  way out: mend what git complains about, and run the command again"
            )
        return done.stdout

    def _run(
        self, words: Sequence[str], content: bytes | None = None, extra: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return run_git(self.top, self._owner, words, content, {**(extra or {}), **render_settings(self._settings)})

    def find_commit(self, revision: str) -> str:
        """The whole id of a revision; raises Refused for one that is not there."""
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        done = self._run(words)
        found = done.stdout.decode().split()
        if done.returncode != 0 or not found:
            shallow = " (this is a shallow clone: older commits are not here)" if self.is_shallow() else ""
            raise Refused(
                f"cannot find revision {quoted(revision)}: no such commit in {self.top}{shallow}\n"
                "  way out: name a branch, a tag or a commit; git log shows them"
            )
        return found[-1]

    def has_commits(self) -> bool:
        words = ("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        return self._run(words).returncode == 0

    def is_shallow(self) -> bool:
        return self.run("rev-parse", "--is-shallow-repository").strip() == b"true"

    def read_branch(self) -> str | None:
        """The full name of the branch that is checked out, ``None`` for a detached HEAD."""
        done = self._run(("symbolic-ref", "--quiet", "HEAD"))
        return os.fsdecode(done.stdout).strip() or None

    def read_under_way(self) -> str | None:
        """What somebody has begun and not finished, such as a merge."""
        folder = self.read_directory()
        return next((what for sign, what in _UNDER_WAY.items() if os.path.lexists(f"{folder}/{sign}")), None)

    def read_directory(self) -> str:
        """Where git keeps this working tree's own state."""
        return os.fsdecode(self.run("rev-parse", "--absolute-git-dir").rstrip(b"\n"))

    def read_tree(self, commit: str, below: str) -> tuple[list[Entry], list[str]]:
        """The regular files below a path, and the paths of links and submodules, which nobody follows.

        A tree is only bytes: git lists names that it would never check out, such as ``..``; they raise DefinitionError.
        """
        listing = self.run("ls-tree", "-r", "-z", "--full-tree", commit, "--", below or ".")
        files: list[Entry] = []
        others: list[str] = []
        for line in listing.split(b"\0")[:-1]:
            facts, _, name = line.partition(b"\t")
            mode, _, blob = facts.decode().split(" ")
            path = os.fsdecode(name)
            if mode.startswith(_BLOB):
                files.append(Entry(path=path, blob=blob))
            elif mode.startswith((_LINK, _MODULE)):
                others.append(path)
        _refuse_odd_paths(commit, [*others, *(entry.path for entry in files)])
        return files, others

    def read_blobs(self, blobs: Iterable[str]) -> dict[str, bytes]:
        """The contents of blobs, by id, ``TOO_LARGE`` for what no reader of ours would take.

        Raises Unavailable for one that is not here, as in a partial clone: nothing is fetched.
        """
        wanted = list(dict.fromkeys(blobs))
        if not wanted:
            return {}
        sizes = _parse_sizes(self.run("cat-file", "--batch-check", content=_render_lines(wanted)))
        missing = [blob for blob in wanted if blob not in sizes]
        if missing:
            raise Unavailable(
                f"cannot read the repository {self.top}: {len(missing)} of its files are not here, such as "
                f"{missing[0][:10]}\n"
                "  way out: git fetch --refetch --no-filter brings them all; git fsck shows what is damaged"
            )
        fit = [blob for blob, size in sizes.items() if size <= LARGEST]
        contents = dict(_split_batch(self.run("cat-file", "--batch", content=_render_lines(fit)))) if fit else {}
        return {blob: contents.get(blob, TOO_LARGE) for blob in sizes}

    def read_changes(self, paths: Sequence[str], *, most: int | None = None) -> list[Change]:
        """What commits did to files that these pathspecs name, newest first; merges only where they decided."""
        limit = () if most is None else (f"--max-count={most}",)
        log = ("log", "-z", "--raw", "--no-abbrev", "--no-renames", "--diff-merges=dense-combined", "--no-textconv")
        return parse_log(self.run(*log, f"--format={LOG_FORMAT}", *limit, "--end-of-options", "HEAD", "--", *paths))

    def blame_lines(self, path: str, first: int, last: int) -> set[str]:
        """The commits that wrote these lines (counted from 1, both included) of a file as it is in HEAD."""
        words = ("blame", "--porcelain", "--no-textconv", "--no-ignore-revs-file", "-L", f"{first},{last}", "HEAD")
        told = self.run(*words, "--", path).split(b"\n")
        return {line.split(b" ", 1)[0].decode() for line in told if _BLAMED.match(line)}

    def read_person(self) -> Person:
        """Whoever sits there: what his git calls him here or anywhere, else his login. With sudo it is not root."""
        account = _read_account()
        here = {} if account.pw_uid != os.geteuid() else {key: self._read_own_setting(key) for key in _PERSON}
        name, email = (here.get(key) or _read_setting(account.pw_dir, key) for key in _PERSON)
        login = f"{account.pw_name}@{os.uname().nodename}"
        return Person(name=name or account.pw_gecos.split(",")[0] or account.pw_name, email=email or login)

    def _read_own_setting(self, key: str) -> str:
        """A setting of this repository; its file is only parsed, and includes are not followed."""
        done = self._run(("config", "--local", "--no-includes", "--get", key))
        return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""

    def commit_files(self, files: Mapping[str, bytes | None], message: str, person: Person, branch: str) -> str:
        """Commit these contents (``None``: gone) on top of HEAD and nothing else; the answer is the commit's id.

        The index keeps whatever else somebody has put into it. Raises Unavailable, with the index as it was, when the
        branch has moved meanwhile. Whoever is killed in between leaves the change staged.
        """
        parent = self.run("rev-parse", "HEAD").decode().strip()
        entries = [self._render_entry(path, content) for path, content in files.items()]
        before = [_render_absent(path) for path in files] + self._read_entries(files)
        tree = self._write_tree(parent, entries)
        who = {f"GIT_{role}_{fact}": value for role in ("AUTHOR", "COMMITTER") for fact, value in _facts(person)}
        words = ("commit-tree", tree, "-p", parent, "-F", "-")
        commit = self.run(*words, content=message.encode(errors="replace"), extra=who).decode().strip()
        self._stage(entries)
        try:
            self.run("update-ref", "-m", "bootstrap config", branch, commit, parent, extra=who)
        except BaseException:
            self._stage(before)
            raise
        return commit

    def is_staged(self, paths: Iterable[str]) -> bool:
        """Whether the index says something else about these files than HEAD."""
        done = self._run(("diff-index", "--cached", "--quiet", "HEAD", "--", *(f":(literal){path}" for path in paths)))
        return done.returncode != 0

    def _write_tree(self, commit: str, entries: Iterable[bytes]) -> str:
        """A commit's tree with these entries instead of its own, made in an index that is nobody else's."""
        index = f"{self.read_directory()}/bootstrap-{os.urandom(6).hex()}.index"
        private = {"GIT_INDEX_FILE": index}
        try:
            self.run("read-tree", commit, extra=private)
            self._stage(entries, private)
            return self.run("write-tree", extra=private).decode().strip()
        finally:
            if os.path.lexists(index):
                os.unlink(index)

    def _stage(self, entries: Iterable[bytes], extra: Mapping[str, str] | None = None) -> None:
        content = b"".join(entry + b"\0" for entry in entries)
        self.run("update-index", "-z", "--index-info", content=content, extra=extra)

    def _render_entry(self, path: str, content: bytes | None) -> bytes:
        """What stands for a file in ``git update-index --index-info``."""
        if content is None:
            return _render_absent(path)
        blob = self.run("hash-object", "-w", "--no-filters", "--stdin", content=content).strip()
        return b"100644 " + blob + b"\t" + os.fsencode(path)

    def _read_entries(self, paths: Iterable[str]) -> list[bytes]:
        listing = self.run("ls-files", "--stage", "-z", "--", *(f":(literal){path}" for path in paths))
        return listing.split(b"\0")[:-1]


def open_repository(directory: str) -> Repository | None:
    """The repository that a directory stands in, ``None`` if in none.

    Raises DefinitionError for one that git, or we, cannot use, Unavailable without git.
    """
    owner = os.stat(directory).st_uid
    done = run_git(directory, owner, ("rev-parse", "--show-toplevel", "--show-prefix"))
    if b"not a git repository" in done.stderr:
        return None
    if b"dubious ownership" in done.stderr:
        raise _unusable(directory, "it belongs to somebody else", "run as its owner")
    if done.returncode != 0:
        raise _unusable(directory, f"git says: {last_words(done)}", "mend what git complains about")
    top, prefix = (os.fsdecode(line) for line in done.stdout.split(b"\n")[:2])
    if not os.path.samefile(f"{top}/{prefix}", directory):
        raise _unusable(
            directory, "its core.worktree leads elsewhere", "git config --unset core.worktree, or work there"
        )
    return Repository(top, prefix, owner)


def _unusable(directory: str, cause: str, way_out: str) -> DefinitionError:
    return DefinitionError(f"cannot look into the repository of {directory}: {cause}\n  way out: {way_out}")


def _read_disarmed(top: str, owner: int) -> dict[str, str]:
    """Filters and drivers that the repository's configuration knows, emptied; reading their names runs none of them."""
    done = run_git(top, owner, ("config", "--null", "--name-only", "--get-regexp", _NAMED))
    names = done.stdout.decode(errors="surrogateescape").split("\0")[:-1]
    return {name: "false" if name.endswith(".required") else "" for name in names}


def _read_account() -> pwd.struct_passwd:
    typed = os.environ.get("SUDO_UID", "")
    uid = int(typed) if os.geteuid() == 0 and typed.isdecimal() else os.geteuid()
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return pwd.struct_passwd((str(uid), "x", uid, uid, "", "/nonexistent", ""))


def _read_setting(home: str, key: str) -> str:
    """A setting of a person's own configuration; the file is only parsed, and includes are not followed."""
    words = ("config", "--file", f"{home}/.gitconfig", "--no-includes", "--get", key)
    done = run_git("/", os.geteuid(), words)
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""


def _facts(person: Person) -> Iterator[tuple[str, str]]:
    yield "NAME", person.name
    yield "EMAIL", person.email


def _refuse_odd_paths(commit: str, paths: Iterable[str]) -> None:
    """Names that lead elsewhere, and a name that stands for two things: no working tree can hold these."""
    seen: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        parts = path.split("/")
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        is_odd = not {"", ".", ".."}.isdisjoint(parts) or max(map(len, parts)) > _LONGEST_NAME
        if is_odd or path in seen or path in folders or not seen.isdisjoint(above):
            raise DefinitionError(
                f"cannot read commit {commit[:10]}: no working tree can hold its path {quoted(path)}\n"
                "  way out: see who made that commit, and with what; git fsck tells more"
            )
        seen.add(path)
        folders.update(above)


def _render_absent(path: str) -> bytes:
    return b"0 " + ABSENT.encode() + b"\t" + os.fsencode(path)


def _render_lines(blobs: Iterable[str]) -> bytes:
    return "".join(f"{blob}\n" for blob in blobs).encode()


def _parse_sizes(output: bytes) -> dict[str, int]:
    """`<id> <type> <size>` a line, `<id> missing` for what is not there."""
    lines = (line.split(" ") for line in output.decode().splitlines())
    return {words[0]: int(words[2]) for words in lines if len(words) == 3 and words[1] == "blob"}


def _split_batch(output: bytes) -> Iterator[tuple[str, bytes]]:
    """`<blob> <type> <size>` LF content LF, again and again; see git-cat-file(1) "BATCH OUTPUT"."""
    at = 0
    while at < len(output):
        end = output.index(b"\n", at)
        words = output[at:end].decode().split(" ")
        at = end + 1
        if len(words) == 3 and words[1] == "blob":
            size = int(words[2])
            yield words[0], output[at : at + size]
            at += size + 1
