"""``bootstrap config``: what every program finds in its environment, and why.

Works for any mode and service, on the box or off it: ``--mode`` stands for all tags. References are shown, never
resolved, so nothing here needs AWS; required variables that are missing are no error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

import click

from bootstrap.cli.config_views import (
    Seen,
    describe_keys,
    explain_key,
    find_values,
    render_explanation,
    render_explanations,
    render_list,
    render_programs,
    visible,
)
from bootstrap.cli.options import tag_options
from bootstrap.cli.output import print_json
from bootstrap.errors import Refused, TagError
from bootstrap.spelling import did_you_mean, listed, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bootstrap.cli.settings import Settings
    from bootstrap.definition import Catalog
    from bootstrap.identity import Identity
    from bootstrap.plan import Plan, Program
    from bootstrap.variable import Account
