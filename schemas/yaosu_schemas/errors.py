"""The tree of errors, each with a stable code, shared by every floor.

YaosuError
├── InvalidInput            what was sent is not what the call takes
│   ├── InvalidDocument     a descriptor breaks its profile: all problems at once
│   ├── Malformed           not parseable at all (JSON, header, cursor)
│   ├── UnsafePath          a path that leaves its folder, hides, or points elsewhere
│   ├── IdempotencyReuse    the key was used before with another request
│   └── OutOfTime           a signed message is not of these minutes
├── Unauthenticated         no key, or one that is unknown, expired or revoked
├── Forbidden               the actor may not take this step
├── NotFound                absent, or not visible to the actor
├── Conflict                the thing is not in a state that allows the step
│   ├── WrongState          names the legal next steps
│   ├── AlreadyExists
│   ├── BelowFloor          a version does not keep to the quality floors of the contract
│   ├── InFlight            the same call is being answered right now: send it again
│   ├── OutOfOrder          a message is older than one that had its effect
│   └── Stale               the thing changed since it was read (If-Match)
├── Gone                    it was there; a tombstone remains
├── PaymentNeeded           what was paid for is used up
├── TooMany                 more calls in a minute than were agreed
├── TooLarge                over a stated limit
├── Unsupported             a format, version or delivery that is not served
├── NoSpace                 the store cannot take more bytes
├── Unavailable             locked, starting, stopping, or out of reach: try again
├── Unverified              a digest, signature or proof does not hold
└── SandboxFailed           the child that reads foreign bytes could not be set up
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple


class Text(NamedTuple):
    """One sentence for people, in both languages."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong in a document, at a JSON pointer (RFC 6901)."""

    pointer: str
    code: str
    en: str
    zh: str
    severity: str = "error"

    def as_json(self) -> dict[str, str]:
        return {
            "pointer": self.pointer,
            "code": self.code,
            "severity": self.severity,
            "message": self.en,
            "message_zh": self.zh,
        }


class YaosuError(Exception):
    """Something a person or a program has to act on: a code, two sentences, facts."""

    code: ClassVar[str] = "error"
    title: ClassVar[Text] = Text("Error", "错误")

    def __init__(self, en: str, zh: str, **facts: object) -> None:
        super().__init__(en)
        self.en = en
        self.zh = zh
        self.facts = facts

    def as_json(self) -> dict[str, object]:
        return {"code": self.code, "message": self.en, "message_zh": self.zh, **self.facts}


class InvalidInput(YaosuError):
    """What was sent is not what the call takes."""

    code = "invalid_input"
    title = Text("Invalid input", "输入无效")


class InvalidDocument(InvalidInput):
    """A document breaks its profile; every problem of it is listed."""

    code = "invalid_document"
    title = Text("Invalid document", "文档无效")

    def __init__(self, problems: Sequence[Problem], en: str = "", zh: str = "") -> None:
        self.problems = tuple(problems)
        n = len(self.problems)
        super().__init__(
            en or f"the document has {n} problem{'' if n == 1 else 's'}",
            zh or f"文档有 {n} 个问题",
            problems=[p.as_json() for p in self.problems],
        )


class Malformed(InvalidInput):
    """The bytes cannot be parsed as what they claim to be."""

    code = "malformed"
    title = Text("Malformed", "格式错误")


class UnsafePath(InvalidInput):
    """A path leaves its folder, hides, or points elsewhere (Data Package v2, security)."""

    code = "unsafe_path"
    title = Text("Unsafe path", "路径不安全")


class IdempotencyReuse(InvalidInput):
    """An idempotency key came back with another request."""

    code = "idempotency_reuse"
    title = Text("Idempotency key reused", "幂等键被重复用于不同请求")


class OutOfTime(InvalidInput):
    """A signed message was not sent within the minutes around its arrival."""

    code = "out_of_time"
    title = Text("Message out of time", "消息超出时间窗口")


class Unauthenticated(YaosuError):
    """No key, or one that is unknown, expired or revoked."""

    code = "unauthenticated"
    title = Text("Not authenticated", "未认证")


class Forbidden(YaosuError):
    """The actor is known and may not take this step."""

    code = "forbidden"
    title = Text("Not allowed", "无权操作")


class NotFound(YaosuError):
    """The thing is absent, or not visible to the actor."""

    code = "not_found"
    title = Text("Not found", "未找到")


class Conflict(YaosuError):
    """The thing is not in a state that allows the step."""

    code = "conflict"
    title = Text("Conflict", "冲突")


class WrongState(Conflict):
    """The step is not allowed from the state the thing is in; `next` names those that are."""

    code = "wrong_state"
    title = Text("Wrong state", "状态不允许")


class AlreadyExists(Conflict):
    """Something of that name or identity is there already."""

    code = "already_exists"
    title = Text("Already exists", "已存在")


class BelowFloor(Conflict):
    """A version does not keep to the quality floors that its contract sets."""

    code = "below_floor"
    title = Text("Below the agreed quality", "低于约定的质量下限")


class InFlight(Conflict):
    """The same call is being answered right now: send it again in a moment."""

    code = "in_flight"
    title = Text("Being answered", "正在处理")


class OutOfOrder(Conflict):
    """A message is older than one about the same thing that had its effect already."""

    code = "out_of_order"
    title = Text("Message out of order", "消息顺序错误")


class Stale(Conflict):
    """The thing changed since it was read."""

    code = "stale"
    title = Text("Changed meanwhile", "内容已变更")


class Gone(YaosuError):
    """It was there; a tombstone remains."""

    code = "gone"
    title = Text("No longer offered", "已下架")


class PaymentNeeded(YaosuError):
    """What was paid for is used up, or not paid yet."""

    code = "payment_needed"
    title = Text("Payment needed", "需要付款")


class TooMany(YaosuError):
    """More calls in a minute than were agreed."""

    code = "too_many"
    title = Text("Too many requests", "请求过于频繁")


class TooLarge(YaosuError):
    """Over a stated limit."""

    code = "too_large"
    title = Text("Too large", "超出大小限制")


class Unsupported(YaosuError):
    """A format, version or delivery that is not served here."""

    code = "unsupported"
    title = Text("Not supported", "不支持")


class NoSpace(YaosuError):
    """The store cannot take more bytes; reads go on."""

    code = "no_space"
    title = Text("No space left", "存储空间不足")


class Unavailable(YaosuError):
    """Locked, starting, stopping, or out of reach: try again."""

    code = "unavailable"
    title = Text("Unavailable", "暂不可用")


class Unverified(YaosuError):
    """A digest, signature or proof does not hold."""

    code = "unverified"
    title = Text("Not verified", "验证未通过")


class SandboxFailed(YaosuError):
    """The child process that reads foreign bytes could not be set up."""

    code = "sandbox_failed"
    title = Text("Sandbox failed", "沙箱不可用")
