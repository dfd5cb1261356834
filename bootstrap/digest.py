"""Bytes → their keyed digest.

``hashlib`` offers the same function, and maps OpenSSL for others that nobody here asks for: 3.4 MiB of a process that
stays. BLAKE2: RFC 7693.
"""

from __future__ import annotations

from _blake2 import blake2b


def digest_of(content: bytes, size: int, key: bytes = b"") -> str:
    """In hexadecimal, two characters for each of ``size`` bytes."""
    return str(blake2b(content, key=key, digest_size=size).hexdigest())
