"""Offline verification of a receipt: what was agreed, paid, logged and witnessed, part by part.

Every part is bound twice: by the market's seal over the whole, and by something that the market
alone cannot make (signatures of the two sides, digests in events, the log's tree, witnesses).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from yaosu_schemas.canonical import digest, jcs
from yaosu_schemas.errors import Text

from . import checkpoint as notes
from . import merkle, signing
from .evidence import event_digest, leaf_entry, stamp
from .proofs import Findings, VerifyReport
from .voucher import PARTS, code_of, sm3
from .witness import Demand, check_witnesses

VERSIONS = (1, 2)


def verify_receipt(
    receipt: Mapping[str, Any],
    *,
    target: str = "receipt",
    log_key: str | None = None,
    demand: Demand | None = None,
) -> VerifyReport:
    """Verify a receipt and say what each part of it proves."""
    found = Findings()
    check_receipt(receipt, found, log_key=log_key, demand=demand)
    return found.report("receipt", target)


def check_receipt(
    receipt: Mapping[str, Any],
    found: Findings,
    *,
    log_key: str | None = None,
    demand: Demand | None = None,
) -> None:
    with found.shape("/version"):
        found.need(
            type(receipt["version"]) is int and receipt["version"] in VERSIONS,
            "/version",
            "version",
            f"this is version {receipt['version']!r} of a receipt; known are 1 and 2",
            f"收据版本 {receipt['version']!r} 未知，仅支持版本 1 与 2",
        )
    for pointer, check, en, zh in _parts(receipt, found, log_key, demand or Demand()):
        with found.proving(pointer, en, zh):
            check()
    with found.shape("/trade"):
        found.facts["trade_id"] = receipt["trade"]["trade_id"]
        found.facts["state"] = receipt["trade"]["state"]
    with found.shape("/seal"):
        found.facts["code"] = code_of(receipt)


Part = tuple[str, Callable[[], object], str, str]


def _parts(
    receipt: Mapping[str, Any], found: Findings, log_key: str | None, demand: Demand
) -> Iterator[Part]:
    """Yield every part: where it stands, how it is checked, and what that proves."""
    yield (
        "/log",
        lambda: check_seal(receipt, found, log_key),
        "nothing was changed since the market sealed it",
        "市场签章后内容未被改动",
    )
    yield (
        "/events",
        lambda: check_chain(receipt["events"], receipt["trade"]["trade_id"], found),
        "the chain of events is whole, in order, and says what was recorded",
        "存证链完整、有序，内容与记录一致",
    )
    yield (
        "/agreement",
        lambda: _check_agreement(receipt, found),
        "the agreement, with its policy of use, is the one that the events name",
        "合同（含使用控制策略）即存证事件所指合同",
    )
    yield (
        "/signatures",
        lambda: _check_signatures(receipt, found),
        "both sides have signed it with the keys that are named",
        "双方均已用所列密钥签署",
    )
    yield (
        "/trade",
        lambda: _check_trade(receipt, found),
        "goods, terms, price and numbers are those of the agreement and the events",
        "标的、条款、价格与编号均与合同及存证一致",
    )
    if receipt.get("version") == 2:
        yield from _parts_of_2(receipt, found, log_key)
    yield (
        "/proofs",
        lambda: _check_proofs(receipt, found, demand),
        "every event is a leaf of the tree that the log has signed",
        "每个存证事件均为日志已签名树的叶子",
    )


def _parts_of_2(receipt: Mapping[str, Any], found: Findings, log_key: str | None) -> Iterator[Part]:
    yield (
        "/settlement",
        lambda: _check_settlement(receipt, found),
        "the postings balance, and are what was paid, settled and given back",
        "分录平衡，且与付款、结算、退款一致",
    )
    yield (
        "/quality",
        lambda: _check_quality(receipt, found, log_key),
        "the market has signed the quality of the very content and report that were agreed on",
        "市场已对约定的内容与质量报告出具签名证明",
    )
    yield (
        "/digests",
        lambda: _check_digests(receipt, found),
        "the digests of the parts hold (SHA-256, and SM3 where this machine has it)",
        "各部分摘要一致（SHA-256，本机支持时含 SM3）",
    )


def check_form(content: bytes, receipt: Any, found: Findings) -> None:
    """The bytes of a file are those that were issued: one spelling, so that every byte counts."""
    if isinstance(receipt, dict) and receipt.get("version") == 1:
        return  # was issued in no particular spelling
    with found.shape(""):
        found.need(
            content.removesuffix(b"\n") == jcs(receipt),
            "",
            "form",
            "these are not the bytes that were issued: the spelling or spacing was changed",
            "文件字节与签发时不同：书写或空白被改动",
        )


def check_seal(receipt: Mapping[str, Any], found: Findings, log_key: str | None) -> None:
    """The market's own signature covers every byte of the receipt but itself."""
    log = receipt["log"]
    key = log["public_key"]
    raw = signing.read_public_key(key)
    found.facts |= {"log_origin": log["origin"], "log_key": key}
    found.facts["log_verifier_key"] = notes.verifier_key(log["origin"], raw)
    found.need(
        log.get("verifier_key") in (None, notes.verifier_key(log["origin"], raw)),
        "/log/verifier_key",
        "key",
        "the verifier key is not made of this origin and public key",
        "验证密钥与日志名称、公钥不一致",
    )
    found.need(
        log_key is None or log_key == key,
        "/log/public_key",
        "key",
        "the receipt is of a log with another key than the one you know",
        "收据所属日志的密钥与您已知的密钥不同",
    )
    seal = receipt["seal"]
    body = {name: value for name, value in receipt.items() if name != "seal"}
    fits = seal["digest"] == digest(body)
    found.need(
        fits,
        "/seal/digest",
        "digest",
        "something in the receipt was changed after it was issued",
        "收据在签发后被改动",
    )
    found.need(
        seal.keys() == {"public_key", "digest", "value"}
        and seal["public_key"] == key
        and signing.verify(key, seal["digest"], seal["value"]),
        "/seal/value",
        "signature",
        "the market's seal on the receipt does not hold",
        "市场对收据的签章无效",
    )
    found.checked["seals"] += 1


def check_chain(events: Any, subject_id: str, found: Findings, base: str = "/events") -> None:
    """Events are dense from 0, linked, of one subject, in time, and what their digests say."""
    found.need(
        isinstance(events, list) and bool(events),
        base,
        "empty",
        "there are no events",
        "没有存证事件",
    )
    before: Mapping[str, Any] | None = None
    for seq, event in enumerate(events):
        place = f"{base}/{seq}"
        with found.shape(place):
            _check_event(event, seq, subject_id, before, place, found)
            before = event


def _check_event(
    event: Mapping[str, Any],
    seq: int,
    subject_id: str,
    before: Mapping[str, Any] | None,
    place: str,
    found: Findings,
) -> None:
    found.checked["events"] += 1
    found.need(
        event["subject_id"] == subject_id,
        f"{place}/subject_id",
        "chain",
        "the event belongs to another subject",
        "事件属于其他主体",
    )
    found.need(
        event["seq"] == seq and not isinstance(event["seq"], bool),
        f"{place}/seq",
        "chain",
        f"the event should be number {seq}: one is missing, added or moved",
        f"事件序号应为 {seq}：存在缺失、插入或移位",
    )
    check_link(event, event["payload"], before, place, found)
    if before is not None:
        found.need(
            event["from_state"] in (None, before["to_state"]),
            f"{place}/from_state",
            "state",
            f"the step begins at {event['from_state']!r}, the one before ended at "
            f"{before['to_state']!r}",
            f"步骤起始状态 {event['from_state']!r} 与前一步结束状态 {before['to_state']!r} 不符",
        )


def check_link(
    event: Mapping[str, Any],
    payload: Any,
    before: Mapping[str, Any] | None,
    place: str,
    found: Findings,
) -> None:
    """An event is what its digests say, and follows the one before it (domain c.4, I1, I9)."""
    found.need(
        event["prev_digest"] == (None if before is None else before["digest"]),
        f"{place}/prev_digest",
        "chain",
        "the event does not follow the one before it",
        "事件与前一事件不相连",
    )
    found.need(
        event["payload_digest"] == digest(payload),
        f"{place}/payload",
        "digest",
        "the content of the event is not what its digest says",
        "事件内容与其摘要不符",
    )
    found.need(
        event["digest"] == event_digest(event),
        f"{place}/digest",
        "digest",
        "the event is not what its digest says",
        "事件与其摘要不符",
    )
    if before is not None:
        found.need(
            str(stamp(event["at"])) >= str(stamp(before["at"])),
            f"{place}/at",
            "time",
            "the event is earlier than the one before it",
            "事件时间早于前一事件",
        )


def says(value: Any, wanted: object) -> bool:
    """Say whether a value occurs anywhere in a JSON value."""
    if isinstance(value, dict):
        return any(says(v, wanted) for v in value.values())
    if isinstance(value, list):
        return any(says(v, wanted) for v in value)
    return type(value) is type(wanted) and value == wanted


def _check_agreement(receipt: Mapping[str, Any], found: Findings) -> None:
    agreement, named = receipt["agreement"], receipt["agreement_digest"]
    found.checked["agreements"] += 1
    found.need(
        digest(agreement) == named,
        "/agreement",
        "digest",
        "the agreement is not what its digest says",
        "合同与其摘要不符",
    )
    found.need(
        any(says(event.get("payload"), named) for event in receipt["events"]),
        "/agreement_digest",
        "unbound",
        "no event of the trade names this agreement",
        "没有任何存证事件提及该合同",
    )


def _check_signatures(receipt: Mapping[str, Any], found: Findings) -> None:
    """Both sides have signed what they had to, and each signature holds under its key."""
    agreement, trade = receipt["agreement"], receipt["trade"]
    parties = {
        "provider": trade["provider"]["party_id"],
        "user": trade["user"]["party_id"],
    }
    signed: set[str] = set()
    for n, signature in enumerate(receipt["signatures"]):
        place = f"/signatures/{n}"
        with found.shape(place):
            found.checked["signatures"] += 1
            over, named, party = signature["over"], signature["digest"], signature["party_id"]
            document = {
                "agreement": receipt["agreement_digest"],
                "standing_offer": digest(agreement.get("standing_offer")),
            }.get(over)
            fits = found.need(
                document == named,
                f"{place}/digest",
                "digest",
                f"the signature is over another document than the {over!r} of this trade",
                f"签名对象不是本交易的 {over!r}",
            )
            holds = found.need(
                signing.verify(signature["public_key"], named, signature["value"]),
                f"{place}/value",
                "signature",
                "the signature does not hold under its key",
                "签名在其公钥下无效",
            )
            allowed = over == "agreement" or party == parties["provider"]
            found.need(
                party in parties.values() and allowed,
                f"{place}/party_id",
                "party",
                "the signature is of a party that had not to sign this",
                "签名方不应签署该文件",
            )
            found.need(
                over != "agreement"
                or any(says(e.get("payload"), signature["key_id"]) for e in receipt["events"]),
                f"{place}/key_id",
                "unbound",
                "no event of the trade names the key of this signature",
                "没有任何存证事件提及该签名的密钥",
            )
            if fits and holds:
                signed.add(party)
    for role, party in parties.items():
        found.need(
            party in signed,
            "/signatures",
            "unsigned",
            f"there is no valid signature of the {role}",
            f"缺少{'提供方' if role == 'provider' else '需方'}的有效签名",
        )


_SUBJECT = ("listing_id", "listing_version", "content_digest", "terms_digest", "report_digest")


def _check_trade(receipt: Mapping[str, Any], found: Findings) -> None:
    """What the receipt tells of the trade is what was agreed and recorded."""
    trade, agreement = receipt["trade"], receipt["agreement"]
    told = {f"/trade/{name}": (trade[name], agreement["subject"][name]) for name in _SUBJECT}
    told |= {
        "/trade/trade_id": (trade["trade_id"], agreement["trade_id"]),
        "/trade/venue": (trade["venue"], agreement["venue"]),
        "/trade/agreement_digest": (trade["agreement_digest"], receipt["agreement_digest"]),
        "/trade/offer_digest": (trade["offer_digest"], agreement["offer_digest"]),
    }
    for side in ("provider", "user"):
        for name in ("party_id", "name", "uscc"):
            told[f"/trade/{side}/{name}"] = (trade[side].get(name), agreement[side].get(name))
    for name in ("mode", "unit", "unit_price_fen", "quantity", "amount_fen", "currency"):
        told[f"/trade/terms/{name}"] = (trade["terms"][name], agreement["price"][name])
    for pointer, (here, there) in told.items():
        found.need(
            here == there,
            pointer,
            "mismatch",
            "the trade says something else than its agreement",
            "交易记录与合同不一致",
        )
    for name in ("voucher_no", "filing_no"):
        value = trade.get(name)
        found.need(
            value is None or any(says(e.get("payload"), value) for e in receipt["events"]),
            f"/trade/{name}",
            "unbound",
            "no event of the trade names this number",
            "没有任何存证事件提及该编号",
        )


def _check_settlement(receipt: Mapping[str, Any], found: Findings) -> None:
    """Every posting belongs to an event, each entry balances, and the sums are the trade's."""
    trade, lines = receipt["trade"], receipt["settlement"]["postings"]
    known = {event["digest"]: event for event in receipt["events"]}
    sums: dict[str, int] = {}
    totals: dict[str, int] = {}
    for n, line in enumerate(lines):
        place = f"/settlement/postings/{n}"
        with found.shape(place):
            found.checked["postings"] += 1
            fen, event = line["amount_fen"], known[line["event_digest"]]
            found.need(
                type(fen) is int and stamp(line["at"]) == stamp(event["at"]),
                place,
                "mismatch",
                "the posting is not a whole number of fen at the time of its event",
                "分录金额不是整数分，或时间与事件不符",
            )
            sums[line["event_digest"]] = sums.get(line["event_digest"], 0) + fen
            totals[line["account"]] = totals.get(line["account"], 0) + fen
    expected: dict[str, int] = {}
    for account, fen in (
        (f"buyer:{trade['user']['party_id']}", trade["refund_fen"] - trade["paid_fen"]),
        *((f"provider:{s['party_id']}", s["amount_fen"]) for s in trade["shares"]),
        (f"fee:{trade['venue']}", trade["fee_fen"]),
        *_corrected(receipt["events"]),
    ):
        expected[account] = expected.get(account, 0) + fen
    found.need(
        not any(sums.values()) and _without_zero(expected) == _without_zero(totals),
        "/settlement/postings",
        "mismatch",
        "the postings are not what the trade says was paid and settled",
        "分录与交易记载的付款、结算不一致",
    )
    shares = {s["party_id"]: s["amount_fen"] for s in trade["shares"]}
    told = {name: trade[name] for name in ("paid_fen", "fee_fen", "refund_fen")}
    told["settled_fen"] = trade["paid_fen"] - trade["refund_fen"]
    found.need(
        _said(receipt["events"]) == (told, _without_zero(shares)),
        "/settlement",
        "mismatch",
        "the events say something else of the payment than the trade",
        "存证事件与交易对付款的记载不一致",
    )


_PAID = ("paid", "period_paid")
_SETTLED = ("settle", "period_settle", "period_end")


def _said(events: Iterable[Mapping[str, Any]]) -> tuple[dict[str, int], dict[str, int]]:
    """Return what the events of a trade, or of its periods, make of its sums and shares."""
    sums = dict.fromkeys(("paid_fen", "fee_fen", "refund_fen", "settled_fen"), 0)
    shares: dict[str, int] = {}
    for event in events:
        payload = event["payload"]
        if event["type"] in _PAID:
            sums["paid_fen"] += payload["amount_fen"]
        if event["type"] in _SETTLED:
            sums["settled_fen"] += payload["amount_fen"]
            sums["fee_fen"] += payload["fee_fen"]
            for party, fen in payload["shares"]:
                shares[party] = shares.get(party, 0) + fen
        if event["type"] in (*_SETTLED, "resolve"):
            sums["refund_fen"] += payload.get("refund_fen", 0)
    return sums, _without_zero(shares)


def _corrected(events: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
    """Yield what corrections moved, which stand beside what the trade says."""
    for event in events:
        if event["type"] == "correction":
            yield from event["payload"]["lines"].items()


def _without_zero(sums: Mapping[str, int]) -> dict[str, int]:
    return {account: fen for account, fen in sums.items() if fen}


def _check_quality(receipt: Mapping[str, Any], found: Findings, log_key: str | None) -> None:
    """The attestation is sealed by the same log, over the content and report of the agreement."""
    attestation, subject = receipt["quality"], receipt["agreement"]["subject"]
    part = Findings()
    check_seal(attestation, part, log_key)
    found.within("/quality", part)
    found.need(
        attestation["type"] == "yaosu-quality"
        and attestation["log"]["public_key"] == receipt["log"]["public_key"]
        and all(
            attestation[name] == subject[name]
            for name in ("listing_id", "content_digest", "report_digest")
        ),
        "/quality",
        "mismatch",
        "the attestation is of other content or of another report than was agreed on",
        "质量证明所指内容或报告与合同不一致",
    )
    found.checked["attestations"] += 1


def _check_digests(receipt: Mapping[str, Any], found: Findings) -> None:
    found.need(
        receipt["digests"].keys() == PARTS.keys(),
        "/digests",
        "missing",
        f"digests are given of: {', '.join(PARTS)}",
        f"应给出以下部分的摘要：{'、'.join(PARTS)}",
    )
    for name, said in receipt["digests"].items():
        value = PARTS[name](receipt)
        second = sm3(value)
        found.checked["digests"] += len(said) if second else 1
        found.need(
            said["sha256"] == digest(value)
            and said.keys() <= {"sha256", "sm3"}
            and (second is None or said.get("sm3") in (None, second)),
            f"/digests/{name}",
            "digest",
            f"the part '{name}' is not what its digests say",
            f"“{name}”部分与其摘要不符",
        )


def _check_proofs(receipt: Mapping[str, Any], found: Findings, demand: Demand) -> None:
    """Each event is a leaf of the tree whose root the log has signed."""
    log = receipt["log"]
    with found.shape("/checkpoint"):
        tree = notes.verified(receipt["checkpoint"].encode(), log["origin"], log["public_key"])
        found.facts["log_size"] = tree.size
        found.checked["checkpoints"] += 1
        _witnessed(receipt, demand, found)
        proofs = {proof["event_digest"]: proof for proof in receipt["proofs"]}
        for n, event in enumerate(receipt["events"]):
            place = f"/proofs/{n}"
            with found.shape(place):
                proof = proofs.get(event["digest"])
                if proof is None:
                    found.wrong(
                        place, "missing", f"event {n} has no proof", f"事件 {n} 没有日志证明"
                    )
                    continue
                check_inclusion(event, proof, tree, place, found)


def _witnessed(receipt: Mapping[str, Any], demand: Demand, found: Findings) -> None:
    before = len(found.problems)
    holds = check_witnesses(
        receipt["checkpoint"].encode(), receipt.get("witnesses") or (), demand, "/checkpoint", found
    )
    if holds:
        found.facts["witnesses"] = {key: str(stamp(at)) for key, at in holds.items()}
    if demand.keys and len(found.problems) == before:
        wanted = demand.quorum
        found.proved.append(
            Text(
                f"at least {wanted} of the witnesses you trust saw one and the same log",
                f"您信任的见证方中至少 {wanted} 个见证了同一日志",
            )
        )


def check_inclusion(
    event: Mapping[str, Any],
    proof: Mapping[str, Any],
    tree: notes.Checkpoint,
    place: str,
    found: Findings,
) -> None:
    """Note a problem unless the proof leads from the event's leaf to the root."""
    found.checked["proofs"] += 1
    hashes = [bytes.fromhex(h) for h in proof["hashes"]]
    index, size = proof["index"], proof["size"]
    plain = type(index) is int and type(size) is int
    found.need(
        plain
        and size == tree.size
        and merkle.verify_inclusion(
            merkle.leaf_hash(leaf_entry(event)), index, size, hashes, tree.root
        ),
        place,
        "proof",
        "the proof does not lead from the event to the signed root of the log",
        "证明无法由该事件推出日志已签名的根",
    )
