"""What the native routes take: one closed model per body, with an example."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from yaosu.model import Role


def _whole(value: Any) -> Any:
    """Refuse booleans and floats where a count or an amount is meant (1.0 included)."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number, without a decimal point")
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
Line = Annotated[str, Field(max_length=300)]
Paragraph = Annotated[str, Field(max_length=4000)]
Id = Annotated[str, Field(max_length=80)]


def _in_the_calendar(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise PydanticCustomError("no_day", "no day of the calendar") from None
    return text


Day = Annotated[
    str,
    Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", json_schema_extra={"format": "date"}),
    AfterValidator(_in_the_calendar),
]


class Body(BaseModel):
    """A closed body: an unknown field is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", strict=False)


class Nothing(Body):
    """No fields."""


class NewParty(Body):
    slug: Line = Field(examples=["lingnan-data"])
    name: Line = Field(min_length=1, examples=["岭南数据有限公司"])
    name_en: Line = ""
    member: Line = Field(min_length=1, examples=["陈工"])
    roles: list[Role] = Field(max_length=5, examples=[["provider"]])
    holder_type: Line = "legal_person"
    uscc: Line | None = Field(default=None, examples=["91440300MA5FAKE086"])
    contact: dict[str, Line] = Field(default_factory=dict)


class Evidence(Body):
    evidence: Paragraph = Field(min_length=1, examples=["营业执照已核对"])


class NewMember(Body):
    name: Line = Field(min_length=1)
    roles: list[Role]


class NewKey(Body):
    label: Line = ""
    roles: list[Role] | None = None
    days: Whole | None = Field(default=None, ge=1, le=3650)
    operations: list[Line] | None = Field(
        default=None,
        max_length=100,
        description="what alone it may: names or groups of GET /v1/operations",
        examples=[["trade.read", "delivery"]],
    )
    bound_to: list[Line] = Field(
        default=[], max_length=20, description="the listings or trades it is for, by id"
    )


class Rotation(Body):
    overlap_hours: Whole = Field(
        default=24, ge=0, le=720, description="hours that the old key works on"
    )


class NewSigningKey(Body):
    public_key: Line = Field(default="", description="base64 of 32 bytes (Ed25519) or 65 (SM2)")
    held_by: Line = Field(default="own", pattern="^(own|platform)$")
    label: Line = ""


class VenueBody(Body):
    """The rules of a place of trading; its exchange never changes."""

    name: Line = Field(min_length=1, examples=["广州数据交易所"])
    name_en: Line = ""
    party_id: Id | None = None
    certificate_required: bool = False
    notice_days: Whole = Field(default=0, ge=0, le=365)
    filing_required: bool = False
    assessment_above_fen: Whole | None = Field(default=None, ge=0, le=10**15)
    fee_permyriad: Whole = Field(default=0, ge=0, le=10_000)
    inspection_days: Whole = Field(default=7, ge=0, le=365)
    report_max_age_days: Whole = Field(default=365, ge=1, le=3650)


class DescriptorBody(Body):
    descriptor: dict[str, Any]


class NewDataset(DescriptorBody):
    venue: Id = "otc"
    view_policy: Id = "public"
    invited: list[Id] = Field(default_factory=list, max_length=1000)
    origin_id: Line | None = None


class Revision(DescriptorBody):
    venue: Id | None = None
    view_policy: Id | None = None


class Submission(Body):
    apply: bool = True


class Reason(Body):
    reason: Paragraph = Field(min_length=1)


class OptionalReason(Body):
    reason: Paragraph = ""


class Words(Body):
    text: Paragraph = Field(min_length=1)


class Contest(Body):
    about: Id = Field(examples=["own:dup_near"])
    text: Paragraph = Field(min_length=1)


class Verdict(Body):
    item: int = Field(ge=0, description="The number of the record, from 0")
    passed: bool


class Verdicts(Body):
    verdicts: list[Verdict] = Field(min_length=1, max_length=100)


class CertificateBody(Body):
    scheme: Id = Field(examples=["nda"])
    number: Line = Field(examples=["SJ4412026090001"])
    agency: Line = ""
    registered_at: Day | None = None
    valid_until: Day | None = None
    seized: bool = False


class Registration(Body):
    certificate: CertificateBody | None = None
    text: Paragraph = ""


class Renewal(Body):
    certificate: CertificateBody
    text: Paragraph = ""


class Notice(Body):
    certificate: CertificateBody | None = None


class TextChanges(Body):
    changes: dict[str, Any] = Field(max_length=4)


class SignatureBody(Body):
    key_id: Id
    value: Line = Field(
        default="", description="base64 of the 64 bytes that the key made over the digest"
    )
    platform: bool = False


class Signed(Body):
    signature: SignatureBody


class FloorBody(Body):
    metric: Id = Field(examples=["own:hash_match"])
    operator: Id = Field(examples=["gteq"])
    threshold: Id = Field(examples=["0.98"])


class Wish(Body):
    mode: Id | None = None
    quantity: Whole = Field(default=1, ge=1, le=10**9)
    purpose: Paragraph = Field(min_length=1, examples=["训练中文对话模型"])
    scenario: Paragraph = ""
    rights: list[Id] = Field(default_factory=lambda: ["use"], max_length=3)
    territory: Line = ""
    term_days: Whole | None = Field(default=None, ge=1, le=36500)
    amount_fen: Whole = Field(default=0, ge=0, le=10**15)
    qualification: Paragraph = ""
    note: Paragraph = ""
    floors: list[FloorBody] = Field(default_factory=list, max_length=50)
    delivery_mode: Id | None = None
    period: Annotated[str, Field(pattern=r"^P[1-9][0-9]{0,3}[DWMY]$")] | None = None
    periods: Whole | None = Field(default=None, ge=1, le=1200)


class NewTrade(Body):
    listing_id: Id
    wish: Wish
    trade_id: Id | None = None


class Purchase(Body):
    wish: Wish
    signature: SignatureBody
    trade_id: Id | None = None
    quoted_at: Line | None = None
    accept_on_delivery: bool = False


class ChangedTerms(Body):
    amount_fen: Whole | None = Field(default=None, ge=0, le=10**15)
    quantity: Whole | None = Field(default=None, ge=1, le=10**9)
    rights: list[Id] | None = Field(default=None, max_length=3)
    exclusive: bool | None = None
    purpose: Paragraph | None = None
    scenario: Paragraph | None = None
    territory: Line | None = None
    term_days: Whole | None = Field(default=None, ge=1, le=36500)
    inspection_days: Whole | None = Field(default=None, ge=0, le=365)
    silent_acceptance: bool | None = None
    payment_timing: Annotated[str, Field(pattern="^(prepaid|postpaid)$")] | None = None
    note: Paragraph | None = None
    floors: list[FloorBody] | None = Field(default=None, max_length=50)


class Answer(Body):
    changes: ChangedTerms = Field(default_factory=ChangedTerms)


class Agreed(Body):
    offer_digest: Line


class Taken(Agreed):
    accept_on_delivery: bool = False


class AssessmentBody(Body):
    passed: bool
    opinion: Paragraph = Field(min_length=1)


class Filing(Body):
    filing_no: Line = Field(min_length=1)


class Payment(Body):
    amount_fen: Whole = Field(ge=1, le=10**15)
    payer: Id
    reference: Line = Field(min_length=1)


class Acceptance(Body):
    manifest_digest: Line


class Objection(Body):
    objection: Paragraph = Field(min_length=1)


class Rating(Body):
    score: Whole = Field(ge=1, le=5)
    text: Paragraph = ""


class Exhibit(Body):
    """Evidence: words, and the digest of the bytes that they are about."""

    text: Paragraph = Field(min_length=1)
    digest: Line = Field(default="", examples=["sha256:" + "0" * 64])


class DisputeBody(Body):
    ground: Paragraph = Field(min_length=1)
    evidence: list[Exhibit] = Field(default_factory=list, max_length=100)
    channel: Line = Field(
        default="negotiation", pattern="^(negotiation|mediation|arbitration|litigation)$"
    )


class Outcome(Body):
    outcome: Paragraph = Field(min_length=1)
    to: Id
    refund_fen: Whole | None = Field(default=None, ge=0, le=10**15)


class EntryLine(Body):
    """One line of an entry; the lines of an entry add up to 0."""

    account: Line = Field(examples=["buyer:pty_…"])
    amount_fen: Whole = Field(ge=-(10**15), le=10**15)


class CorrectionBody(Body):
    reason: Paragraph = Field(min_length=1)
    lines: list[EntryLine] = Field(min_length=2, max_length=50)


class Handover(Body):
    """Which version is delivered; without one, the newest."""

    listing_id: Id | None = None


class InvoiceBody(Body):
    number: Line = Field(min_length=1, examples=["24442000000000000001"])
    amount_fen: Whole = Field(ge=1, le=10**15)
    issued_on: Day
    tax_fen: Whole | None = Field(default=None, ge=0, le=10**15)
    period_id: Id | None = None
    invoice_id: Id | None = None


class RedInvoice(Body):
    number: Line = Field(min_length=1)
    issued_on: Day
    reason: Paragraph = Field(min_length=1)
    amount_fen: Whole | None = Field(default=None, ge=1, le=10**15)
    invoice_id: Id | None = None
