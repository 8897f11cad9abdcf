"""What time does to requests and invitations: a reminder before the end, and the end."""

from __future__ import annotations

import logging
from functools import partial

from yaosu.errors import YaosuError
from yaosu.ports import Store

from . import approvals, confirmations, invitations

log = logging.getLogger(__name__)


def run(store: Store) -> None:
    """Do what is due for each by itself: one that fails holds up no other."""
    with store.read() as reader:
        due = [partial(approvals.tick, approval_id=i) for i in approvals.waiting(reader)]
        due += [partial(invitations.tick, invitation_id=i) for i in invitations.open_ones(reader)]
        due += [partial(confirmations.tick, approval_id=i) for i in confirmations.open_ones(reader)]
    for step in due:
        try:
            store.write(step)
        except YaosuError:
            log.exception("a deadline was not kept: %s", step.keywords)
