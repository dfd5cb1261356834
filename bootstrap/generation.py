"""Plan + environment → Generation: files, fingerprints."""

from __future__ import annotations
