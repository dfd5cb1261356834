"""How git may reach a repository: the one protocol of its address, and the credentials that root keeps for it.

Credentials are files of ours in `/etc/bootstrap/credentials` (or `BOOTSTRAP_CREDENTIALS`), which nobody else may read:

    <service>.key, ssh.key     a deploy key for ssh; the service's own goes first
    known_hosts                the host keys to believe, beside the system's own; an unknown host is refused
    https                      a line for each host, as git-credential-store(1) has them: https://user:token@host

For the time of one command the git that needs it gets a copy in memory; a credential is in no argument list. Whoever is
not root uses ssh as he has set it up for himself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from bootstrap.checkout import show_address
from bootstrap.errors import DefinitionError
from bootstrap.frozen import dataclass
from bootstrap.launcher import quote
from bootstrap.world.code.apart import read_stranger

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY = "/etc/bootstrap/credentials"
WAY_IN = f"way out: put a deploy key, a token or the host's key where docs/sources.md says (in {DIRECTORY})"
_MEMORY = "/dev/shm"  # noqa: S108 - a private directory is made in it
_PREFIX = "bootstrap-access-"
_LONGEST = 64 * 1024  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What git is given for one repository; ``address`` holds no password."""

    address: str
    protocol: str
    settings: dict[str, str]
    environ: dict[str, str]


def protocol_of(url: str) -> str:
    """What git calls the protocol of an address; see git(1) GIT_ALLOW_PROTOCOL."""
    if url.startswith("/"):
        return "file"
    scheme, separator, _ = url.partition("://")
    return scheme if separator else "ssh"


@contextmanager
def opened(url: str, service: str) -> Iterator[Access]:
    """Access to this address, with credentials for as long as the block lasts. Raises DefinitionError."""
    protocol = protocol_of(url)
    if protocol in {"file", "git"}:
        yield Access(address=url, protocol=protocol, settings={}, environ={})
        return
    with _private_directory() as private:
        if protocol == "ssh":
            yield Access(
                address=url, protocol=protocol, settings={}, environ={"GIT_SSH_COMMAND": _ssh(private, service)}
            )
        else:
            yield _over_http(url, protocol, private)


def remove_leftovers() -> None:
    """Remove the credentials that killed runs have left in memory; the living know their own by their number."""
    for name in os.listdir(_MEMORY) if os.path.isdir(_MEMORY) else ():
        pid = name.removeprefix(_PREFIX).partition("-")[0]
        path = f"{_MEMORY}/{name}"
        if not name.startswith(_PREFIX) or os.path.isdir(f"/proc/{pid}"):
            continue
        with contextlib.suppress(FileNotFoundError):  # another box's run does the same
            if os.lstat(path).st_uid == os.geteuid():
                shutil.rmtree(path, ignore_errors=True)


def _over_http(url: str, protocol: str, private: str) -> Access:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    login = (parts.username, parts.password) if parts.username is not None else _find_login(protocol, host)
    settings: dict[str, str] = {}
    if login is not None:
        user, password = (unquote(word or "") for word in login)
        path = f"{private}/login"
        _write(path, f"username={user}\npassword={password}\n".encode())
        settings[f"credential.{protocol}://{host}.helper"] = f"!bootstrap() {{ cat {quote(path)}; }}; bootstrap"
    return Access(address=show_address(url), protocol=protocol, settings=settings, environ={})


def _find_login(protocol: str, host: str) -> tuple[str | None, str | None] | None:
    for line in (_read("https") or b"").decode(errors="replace").splitlines():
        parts = urlsplit(line.strip())
        if parts.scheme == protocol and parts.netloc.rpartition("@")[2] == host and parts.username is not None:
            return parts.username, parts.password
    return None


def _ssh(private: str, service: str) -> str:
    options = ["BatchMode=yes", "ConnectTimeout=10", "ForwardAgent=no", "ForwardX11=no", "PermitLocalCommand=no"]
    words = ["ssh", *(f"-o{option}" for option in options)]
    key = _read(f"{service}.key") or _read("ssh.key")
    known = _read("known_hosts")
    if key is not None:
        _write(f"{private}/key", key)
        words += ["-i", f"{private}/key", "-oIdentitiesOnly=yes"]
    if known is not None:
        _write(f"{private}/known_hosts", known)
        words.append(f"-oUserKnownHostsFile={private}/known_hosts")
    if read_stranger() is not None:
        words += ["-F", "/dev/null", "-oStrictHostKeyChecking=yes"]
    return " ".join(quote(word) for word in words)


def _read(name: str) -> bytes | None:
    """A credential, ``None`` if there is none; raises DefinitionError for one that others could read or write."""
    path = f"{os.environ.get('BOOTSTRAP_CREDENTIALS') or DIRECTORY}/{name}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LONGEST:
            raise _unusable(path, "it is no file of 64 KiB at most")
        if status.st_uid not in {0, os.geteuid()} or status.st_mode & 0o077:
            raise _unusable(path, "others may read or change it")
        return os.read(descriptor, _LONGEST)
    finally:
        os.close(descriptor)


def _unusable(path: str, cause: str) -> DefinitionError:
    return DefinitionError(
        f'cannot use credential "{path}": {cause}\n  way out: make it a file of root\'s with mode 0600'
    )


@contextmanager
def _private_directory() -> Iterator[str]:
    """Ours and the stranger's; in memory, and gone with the block."""
    path = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_MEMORY if os.path.isdir(_MEMORY) else None)
    try:
        stranger = read_stranger()
        if stranger is not None:
            os.chown(path, 0, stranger.gid)
            os.chmod(path, 0o710)  # noqa: S103 - the group is the stranger's alone
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _write(path: str, content: bytes) -> None:
    """ssh wants a key that is its user's to be his alone; one that is another's it takes as it is."""
    stranger = read_stranger()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if stranger is not None:
            os.fchown(descriptor, 0, stranger.gid)
            os.fchmod(descriptor, 0o640)
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
