"""Which events people are told of, and who of them: the one table between log and inbox."""

from __future__ import annotations

from collections.abc import Mapping

KINDS = (
    "search",  # a listing fits a saved search
    "version",  # a watched or bought dataset is on the market in a new version
    "terms",  # the signed standing offer of a watched one has changed
    "withdrawal",  # suspended, delisted, or back
    "recall",
    "invitation",  # a private listing that one's organisation is invited to
    "trade",
    "period",
    "invoice",
    "listing",  # the way of one's own listing
    "certificate",
    "key",  # an access key is about to end
    "approval",  # of a step that one's organisation lets only two people take
    "member",  # what became of an invitation into one's organisation
)

SIDES: Mapping[str, tuple[str, str]] = {
    "intent": ("trade", "provider"),
    "offer": ("trade", "buyer"),
    "counter": ("trade", "both"),
    "agree": ("trade", "both"),
    "compliance": ("trade", "both"),
    "cancel": ("trade", "both"),
    "sign": ("trade", "both"),
    "file": ("trade", "both"),
    "paid": ("trade", "both"),
    "deliver_done": ("trade", "buyer"),
    "accept": ("trade", "provider"),
    "reject": ("trade", "provider"),
    "bill": ("trade", "buyer"),
    "settle": ("trade", "both"),
    "voucher": ("trade", "both"),
    "rate": ("trade", "provider"),
    "stop": ("trade", "both"),
    "terminate": ("trade", "both"),
    "dispute": ("trade", "both"),
    "evidence": ("trade", "both"),
    "resolve": ("trade", "both"),
    "correction": ("trade", "both"),
    "usage_reported": ("trade", "provider"),
    "recalled": ("recall", "buyer"),
    "deletion_confirmed": ("recall", "provider"),
    "invoice": ("invoice", "buyer"),
    "period_open": ("period", "buyer"),
    "period_paid": ("period", "both"),
    "period_deliver_done": ("period", "buyer"),
    "period_accept": ("period", "provider"),
    "period_reject": ("period", "provider"),
    "period_bill": ("period", "buyer"),
    "period_settle": ("period", "both"),
    "period_end": ("period", "both"),
}
"""Events of trades: the kind of notice, and the side that is told unless it did it itself."""

OWN: Mapping[str, str] = {
    "fail_validation": "listing",
    "pass_validation": "listing",
    "return": "listing",
    "register": "listing",
    "open_notice": "listing",
    "close_notice": "listing",
    "uphold_objection": "listing",
    "object": "listing",
    "answer_objection": "listing",
    "list": "listing",
    "suspend": "listing",
    "resume": "listing",
    "delist": "listing",
    "comment": "listing",
    "answer_contest": "listing",
    "recalled": "recall",
    "recall_closed": "recall",
    "certificate_expiring": "certificate",
    "renew_certificate": "certificate",
    "renewal_refused": "certificate",
}
"""Events of listings that their provider is told of."""

DESK: Mapping[str, str] = {"renewal_requested": "certificate"}
"""Events of listings that the exchange of their place of trading is told of."""

OTHERS: Mapping[str, str] = {
    "list": "version",
    "offer": "terms",
    "suspend": "withdrawal",
    "resume": "withdrawal",
    "delist": "withdrawal",
    "recalled": "recall",
    "recall_closed": "recall",
}
"""Events of listings that those are told of who watch the dataset, have bought it, are invited."""

FITS = frozenset({"list", "resume", "edit_text"})
"""Events after which a listing is held against saved searches."""

APPROVERS = frozenset({"approval_asked", "approval_reminder"})
"""Events of organisations that those are told of who may approve."""

ASKERS = frozenset({"approval_done", "approval_refused", "approval_expired", "approval_lapsed"})
"""Events of organisations that who asked for an approval is told of."""

INVITERS = frozenset({"invitation_accepted", "invitation_expired", "invitation_reminder"})
"""Events of organisations that who invited somebody is told of."""

ATTESTED = frozenset({"register", "sample_judged"})
"""Events by which people put their name to a version: their party's profile counts them."""
