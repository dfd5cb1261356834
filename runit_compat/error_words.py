"""errno → the words that runit has for it; they are not those of the C library.

Read from the binary of Debian's runit 2.1.2; the tests hold each against it that can be provoked.
"""

import errno

_WORDS = {
    errno.EINTR: b"interrupted system call",
    errno.ENOMEM: b"out of memory",
    errno.ENOENT: b"file does not exist",
    errno.ETXTBSY: b"text busy",
    errno.EIO: b"input/output error",
    errno.EEXIST: b"file already exists",
    errno.ETIMEDOUT: b"timed out",
    errno.EINPROGRESS: b"operation in progress",
    errno.EAGAIN: b"temporary failure",
    errno.EPIPE: b"broken pipe",
    errno.EPERM: b"permission denied",
    errno.EACCES: b"access denied",
    errno.ENXIO: b"device not configured",
    errno.EPROTO: b"protocol error",
    errno.EISDIR: b"is a directory",
    errno.ECONNREFUSED: b"connection refused",
    errno.ENOTDIR: b"not a directory",
    errno.ESRCH: b"no such process",
    errno.E2BIG: b"argument list too long",
    errno.ENOEXEC: b"exec format error",
    errno.EBADF: b"file descriptor not open",
    errno.ECHILD: b"no child processes",
    errno.EDEADLK: b"operation would cause deadlock",
    errno.EFAULT: b"bad address",
    errno.ENOTBLK: b"not a block device",
    errno.EBUSY: b"device busy",
    errno.EXDEV: b"cross-device link",
    errno.ENODEV: b"device does not support operation",
    errno.EINVAL: b"invalid argument",
    errno.ENFILE: b"system cannot open more files",
    errno.EMFILE: b"process cannot open more files",
    errno.ENOTTY: b"not a tty",
    errno.EFBIG: b"file too big",
    errno.ENOSPC: b"out of disk space",
    errno.ESPIPE: b"unseekable descriptor",
    errno.EROFS: b"read-only file system",
    errno.EMLINK: b"too many links",
    errno.ENOTSOCK: b"not a socket",
    errno.EMSGSIZE: b"message too long",
    errno.EOPNOTSUPP: b"operation not supported",
    errno.EADDRINUSE: b"address already used",
    errno.ECONNRESET: b"connection reset",
    errno.ENOBUFS: b"out of buffer space",
    errno.ENOTCONN: b"not connected",
    errno.ELOOP: b"symbolic link loop",
    errno.ENAMETOOLONG: b"file name too long",
    errno.ENOTEMPTY: b"directory not empty",
    errno.EUSERS: b"too many users",
    errno.EDQUOT: b"disk quota exceeded",
    errno.ESTALE: b"stale NFS file handle",
    errno.EREMOTE: b"too many levels of remote in path",
    errno.ENOLCK: b"no locks available",
    errno.ENOSYS: b"system call not available",
}


def describe_errno(number: int | None) -> bytes:
    """How runit calls what a system call has answered."""
    return _WORDS.get(number or 0, b"unknown error")
