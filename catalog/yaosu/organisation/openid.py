"""Signing in with an identity provider: OpenID Connect Core 1.0, authorization code with PKCE.

Protocol and checks are Authlib's and joserfc's; every request goes out through the gate. Nonce and
PKCE verifier are derived from the state and a secret of the market: nothing is kept meanwhile.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from yaosu.errors import Forbidden, Unavailable
from yaosu.outgoing import Answer, Gate, NotSent, networks
from yaosu.ports import Clock
from yaosu.settings import Settings

SCOPE = "openid profile email"
ALGORITHMS = frozenset(
    (
        *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
    )
)
"""Signatures with a public key only: `none` and shared secrets are never taken."""
FRESH_S = 3600.0
AGAIN_S = 5.0
"""Keys that lack the one of a token are read again, but not more often than so; what could not be
read is not asked for again meanwhile."""
LEEWAY_S = 60
MOST_BYTES = 256 << 10
DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Person:
    """Who signed in, as the provider says: `subject` is theirs for good with this issuer."""

    issuer: str
    subject: str
    name: str
    email: str
    email_verified: bool


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is needed of the provider's discovery document."""

    authorization: str
    token: str
    jwks: str
    about: str
    logout: str
    algorithms: tuple[str, ...]
    basic: bool
    says_issuer: bool


def _down(en: str, zh: str) -> Unavailable:
    return Unavailable(
        f"the sign-in service {en}; an access key still works",
        f"统一登录服务{zh}；仍可使用访问密钥登录",
    )


def refused(en: str, zh: str) -> Forbidden:
    return Forbidden(f"this sign-in is not taken: {en}", f"登录未通过：{zh}", operation="sign_in")


def provider(settings: Settings, clock: Clock, seal: Callable[[str], str]) -> Provider | None:
    """Return the identity provider that the settings name, with a gate of its own, or None."""
    if not settings.oidc_issuer:
        return None
    return Provider(
        settings.oidc_issuer,
        settings.oidc_client_id,
        settings.oidc_client_secret,
        gate=Gate(networks(settings.oidc_allow)),
        clock=clock,
        seal=seal,
    )


class Provider:
    """The identity provider of a market."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str,
        *,
        gate: Gate,
        clock: Clock,
        seal: Callable[[str], str],
    ) -> None:
        self.issuer = issuer
        self.client_id = client_id
        self._secret = client_secret
        self._gate = gate
        self._clock = clock
        self._seal = seal
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None
        self._failed_at = -AGAIN_S
        self._one = asyncio.Lock()

    # --- the way there --------------------------------------------------------------------------

    async def address(self, state: str, redirect_uri: str) -> str:
        """Return where the browser goes to sign in."""
        known = await self.metadata()
        url: str = prepare_grant_uri(
            known.authorization,
            self.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=SCOPE,
            state=state,
            nonce=self._nonce(state),
            code_challenge=create_s256_code_challenge(self._verifier(state)),
            code_challenge_method="S256",
        )
        return url

    async def logout_address(self, back: str) -> str:
        """Return where the provider ends its own session (RP-Initiated Logout 1.0), or nothing."""
        try:
            known = await self.metadata()
        except Unavailable:
            return ""
        if not known.logout:
            return ""
        more = {"client_id": self.client_id, "post_logout_redirect_uri": back}
        return f"{known.logout}{'&' if '?' in known.logout else '?'}{urlencode(more)}"

    def _nonce(self, state: str) -> str:
        return self._seal(f"oidc-nonce:{state}")

    def _verifier(self, state: str) -> str:
        return self._seal(f"oidc-verifier:{state}")

    # --- the way back ---------------------------------------------------------------------------

    async def person(self, code: str, state: str, redirect_uri: str) -> Person:
        """Return who the code stands for, after every check of the ID token (§3.1.3.7)."""
        given = await self._exchange(code, state, redirect_uri)
        token = given.get("id_token")
        if not isinstance(token, str):
            raise refused("no ID token came", "未收到身份令牌")
        try:
            read = await self._decoded(token)
            claims = CodeIDToken(
                read.claims,
                read.header,
                options={
                    "iss": {"essential": True, "value": self.issuer},
                    "aud": {"essential": True, "value": self.client_id},
                    "sub": {"essential": True},
                },
                params={
                    "nonce": self._nonce(state),
                    "client_id": self.client_id,
                    "access_token": given.get("access_token"),
                },
            )
            claims.validate(now=int(self._clock.now().timestamp()), leeway=LEEWAY_S)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            # The kind of what is wrong, never the token or a claim of it.
            kind = getattr(error, "error", "") or type(error).__name__
            about = str(getattr(error, "claim", ""))[:40]
            raise refused(
                f"the ID token does not hold ({kind} {about})".replace(" )", ")"),
                f"身份令牌无效（{kind} {about}）".replace(" ）", "）"),
            ) from None
        more = {} if "email" in claims else await self._about(given.get("access_token"))
        # What is said of somebody else is not of this one (Core §5.3.2).
        return _person(
            self.issuer, {**more, **claims} if more.get("sub") == claims["sub"] else claims
        )

    async def _about(self, access_token: object) -> Mapping[str, Any]:
        """Return the claims that the token does not hold; without them a sign-in goes on."""
        known = await self.metadata()
        if not known.about or not isinstance(access_token, str):
            return {}
        if not (access_token.isascii() and access_token.isprintable()):
            return {}
        headers = {"accept": "application/json", "authorization": f"Bearer {access_token}"}
        try:
            answer = await self._asked(known.about, None, headers)
            return _object(answer) if answer.status == 200 else {}
        except Unavailable:
            return {}

    async def _exchange(self, code: str, state: str, redirect_uri: str) -> Mapping[str, Any]:
        known = await self.metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": self._verifier(state),
        }
        headers = {
            "accept": "application/json",
            "content-type": "application/x-www-form-urlencoded",
        }
        if self._secret and known.basic:
            pair = f"{quote(self.client_id, safe='')}:{quote(self._secret, safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = self.client_id
            if self._secret:
                form["client_secret"] = self._secret
        answer = await self._asked(known.token, urlencode(form).encode(), headers)
        if answer.status >= 500:
            raise _down("does not answer as it should", "应答异常")
        if answer.status != 200:
            raise refused(
                "the code was used already, is too old, or was not made for this market",
                "授权码已使用、已过期或不属于本平台",
            )
        return _object(answer)

    async def _decoded(self, token: str) -> jwt.Token:
        """Return the verified token; unknown keys are looked for once more (rotation)."""
        known = await self.metadata()
        allowed = [a for a in known.algorithms if a in ALGORITHMS]
        try:
            return jwt.decode(token, await self._key_set(), algorithms=allowed)
        except JoseError:
            read_at = self._keys[0] if self._keys else 0.0
            if time.monotonic() - read_at < AGAIN_S:
                raise
            self._keys = None
        return jwt.decode(token, await self._key_set(), algorithms=allowed)

    # --- what the provider publishes ------------------------------------------------------------

    async def metadata(self) -> Metadata:
        """Return the discovery document, read at most once an hour; Unavailable without one."""
        async with self._one:
            if self._metadata is None or time.monotonic() - self._metadata[0] > FRESH_S:
                found = await self._read(
                    f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
                )
                self._metadata = (time.monotonic(), self._understood(found))
            return self._metadata[1]

    def _understood(self, found: Mapping[str, Any]) -> Metadata:
        if found.get("issuer") != self.issuer:  # Discovery 1.0 §4.3
            raise _down("names another issuer than the settings", "的签发者与设置不一致")
        methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        try:
            return Metadata(
                authorization=_address(found["authorization_endpoint"]),
                token=_address(found["token_endpoint"]),
                jwks=_address(found["jwks_uri"]),
                about=_address(found.get("userinfo_endpoint", "")),
                logout=_address(found.get("end_session_endpoint", "")),
                algorithms=tuple(
                    str(a) for a in found.get("id_token_signing_alg_values_supported") or ("RS256",)
                ),
                basic="client_secret_basic" in methods,
                says_issuer=found.get("authorization_response_iss_parameter_supported") is True,
            )
        except (KeyError, TypeError, ValueError):
            raise _down("publishes no complete description of itself", "的描述不完整") from None

    async def _key_set(self) -> KeySet:
        known = await self.metadata()
        async with self._one:
            if self._keys is None or time.monotonic() - self._keys[0] > FRESH_S:
                found = await self._read(known.jwks)
                try:
                    keys = KeySet.import_key_set(found)  # type: ignore[arg-type]
                except (JoseError, ValueError, TypeError, KeyError, AttributeError):
                    raise _down("publishes no keys", "未公布密钥") from None
                self._keys = (time.monotonic(), keys)
            return self._keys[1]

    async def _read(self, url: str) -> Mapping[str, Any]:
        if time.monotonic() - self._failed_at < AGAIN_S:
            raise _down("could not be reached a moment ago", "刚才无法访问")
        try:
            answer = await self._asked(url, None, {"accept": "application/json"})
            if answer.status != 200:
                raise _down("does not answer as it should", "应答异常")
            return _object(answer)
        except Unavailable:
            self._failed_at = time.monotonic()
            raise

    async def _asked(self, url: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        bounds: dict[str, Any] = {"deadline_s": DEADLINE_S, "most_bytes": MOST_BYTES}
        try:
            if body is None:
                return await self._gate.get(url, headers, **bounds)
            return await self._gate.post(url, body, headers, **bounds)
        except NotSent as error:
            raise _down(f"cannot be reached ({error.code})", "无法访问") from None


def _object(answer: Answer) -> Mapping[str, Any]:
    try:
        found = json.loads(answer.body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _down("does not answer as it should", "应答异常")
    return found


def _address(value: Any) -> str:
    if not isinstance(value, str) or not (value == "" or value.startswith(("https://", "http://"))):
        raise ValueError
    return value


def _person(issuer: str, claims: Mapping[str, Any]) -> Person:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:  # Core §2
        raise refused("it names nobody", "未指明用户")
    email = claims.get("email")
    name = claims.get("name")
    return Person(
        issuer=issuer,
        subject=subject,
        name=name[:300] if isinstance(name, str) else "",
        email=email[:300] if isinstance(email, str) else "",
        email_verified=claims.get("email_verified") is True,
    )
