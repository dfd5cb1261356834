"""``boot``: what the init system starts."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from bootstrap import control, watch
from bootstrap.cli.options import tag_options
from bootstrap.cli.output import Voice
from bootstrap.cli.up import Seconds
from bootstrap.ec2.breaker import LoopBreaker
from bootstrap.ec2.course import Course
from bootstrap.ec2.expiry import Expiry
from bootstrap.ec2.front import Front
from bootstrap.ec2.herd import HerdGuard
from bootstrap.ec2.membership import Membership
from bootstrap.ec2.notices import Notices
from bootstrap.ec2.situation import Situation
from bootstrap.ec2.status_tags import StatusTags
from bootstrap.page.duty import HealthPage
from bootstrap.request import Request
from bootstrap.world import outlet
from bootstrap.world.ec2 import errands

if TYPE_CHECKING:
    from bootstrap.cli.settings import Settings


@click.command(
    epilog="Example: bootstrap boot --tag mode=production --tag service=api",
    short_help="up, then stay in the foreground: what the init system starts.",
)
@click.option("--timeout", type=Seconds(), default="120s", show_default=True, help="Give up waiting after this long.")
@tag_options
def boot(settings: Settings, *, timeout: float) -> int:
    """Converge as up does, then watch: a supervisor that dies is replaced, with exactly one copy of every program.

    Programs that were stopped by hand stay stopped. SIGHUP means up once more; SIGTERM and SIGINT stop everything in
    reverse order, and exit 0. Killed in any other way it leaves the programs running; started again it takes over.
    """
    sys.stdout, sys.stderr = outlet.never_waiting(sys.stdout), outlet.never_waiting(sys.stderr)
    voice = Voice(settings, as_json=False)
    request = Request(
        tags=settings.tags,
        tags_file=settings.tags_file,
        last_identity=settings.last_identity,
        lock_wait_s=timeout,
        timeout_s=timeout,
        asked=False,
    )

    def restart(name: str) -> None:
        control.restart(settings.box, (name,), voice.event, timeout, quits=False)  # it does not serve as it is

    page = HealthPage(settings.box, voice.event, restart)
    errands.stay()
    situation = Situation(box=settings.box, say=voice.event)
    course, notices = Course(situation, page), Notices(situation)
    duties = (
        page,
        course,
        notices,
        HerdGuard(situation, page),
        Front(situation, notices, page),
        LoopBreaker(situation),
        Membership(situation, notices),
        StatusTags(situation),
        Expiry(situation, request),
    )
    watch.watch(settings.box, replace(request, witness=course), voice.event, voice.actions, duties)
    return 0
