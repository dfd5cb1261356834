"""A directory → what it does to an environment, as ``chpst -e`` has it.

bootstrap's own layers (``bootstrap.world.config.layers``) have the same rules for values, but refuse names and files
that chpst takes, and importing them takes longer than all of chpst.
"""

from __future__ import annotations

import errno
import os

from runit_compat.trouble import telling, write_words

_LONGEST = 1024 * 1024  # bytes of a first line: eight times what the kernel takes in one variable
_PIECE = 64 * 1024


def read_environment_directory(path: bytes, *, skips_directories: bool, is_verbose: bool) -> list[bytes]:
    """``NAME=value`` to set and ``NAME`` to remove, in the directory's own order; raises Trouble.

    The working directory stays what it was.
    """
    with telling(b"unable to open current working directory"):
        before = os.open(b".", os.O_RDONLY)
    with telling(b"unable to switch to directory", path):
        os.chdir(path)
    with telling(b"unable to open directory", path):
        names = os.listdir(b".")
    entries = []
    for name in names:
        if name.startswith(b"."):
            continue
        file = b"%s/%s" % (path, name)
        with telling(b"unable to read " + file):
            try:
                entries.append(_read_entry(name))
            except IsADirectoryError:
                if not skips_directories:
                    raise
                if is_verbose:
                    write_words(b"chpst: warning: unable to read " + file + b": is a directory")
    with telling(b"unable to switch to starting directory"):
        os.fchdir(before)
    os.close(before)
    return entries


def _read_entry(name: bytes) -> bytes:
    try:
        content = _read_first_line(name)
    except FileNotFoundError:
        return name  # a link to nothing: runit would give it the value of whichever file it has read before
    if not content:
        return name
    value = content.partition(b"\n")[0].rstrip(b" \t").replace(b"\0", b"\n")
    return b"%s=%s" % (name, value)


def _read_first_line(name: bytes) -> bytes:
    """All of it and perhaps more; raises OSError."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    content = b""
    try:
        while piece := os.read(descriptor, _PIECE):
            content += piece
            if b"\n" in piece:
                break
            if len(content) > _LONGEST:  # a device, which never ends
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    finally:
        os.close(descriptor)
    return content
