"""The families of the native API in the order in which a path is matched: the busiest first."""

from yaosu.web import sample, uploads

from . import (
    evidence,
    exchange,
    harvests,
    log,
    market,
    money,
    notices,
    organisation,
    parties,
    profiles,
    quality,
    reads,
    registered,
    renewals,
    trade,
    webhooks,
)

ROUTERS = tuple(
    family.router
    for family in (
        trade,
        money,
        market,
        quality,
        sample,
        uploads,
        parties,
        log,
        evidence,
        webhooks,
        notices,
        profiles,
        renewals,
        exchange,
        harvests,
        registered,
        organisation,
        reads,
    )
)
