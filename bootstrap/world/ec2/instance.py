"""Instance metadata → what this machine is called in AWS."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bootstrap.frozen import dataclass
from bootstrap.world import clock
from bootstrap.world.imds import MetadataService, metadata_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """None of it changes while the machine runs."""

    id: str
    region: str
    address: str  # private, IPv4


def read_instance(patience_s: float, environ: Mapping[str, str] = os.environ) -> Instance | None:
    """``None`` where there is no instance metadata to ask; raises Unavailable when it does not answer in time."""
    endpoint = metadata_endpoint(environ)
    if endpoint is None:
        return None
    service = MetadataService(endpoint, deadline=clock.now() + patience_s)
    try:
        return Instance(id=service.read_instance_id(), region=service.read_region(), address=service.read_address())
    finally:
        service.close()
