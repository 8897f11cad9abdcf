"""Signing in with an identity provider that others wrote, and what must never get through."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import flask
import httpx2
import oidc_provider_mock
import pytest
from joserfc import jwk, jwt
from werkzeug.serving import make_server

from people import Hall, Person, open_hall
from yaosu.organisation import openid

SECRET = "client-secret-of-the-test"
Twist = Callable[[dict[str, Any], dict[str, Any]], Any]


class Elsewhere:
    """A provider of others on loopback; a test may twist its tokens and see what it was asked."""

    def __init__(self) -> None:
        self.app = oidc_provider_mock.app()
        self.app.debug = False
        self.twist: Twist | None = None
        self.asked: list[dict[str, Any]] = []
        name = "oidc-provider-mock.issue_token"
        self._issue = self.app.view_functions[name]
        self.app.view_functions[name] = self._issued
        self.server = make_server("127.0.0.1", 0, self.app, threaded=True)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"

    def _issued(self) -> Any:
        self.asked.append({**flask.request.form, "auth": flask.request.authorization})
        answer = flask.make_response(self._issue())
        if self.twist is None or answer.status_code != 200:
            return answer
        body = json.loads(answer.data)
        head, claims, _ = body["id_token"].split(".")
        body["id_token"] = self.twist(_read(head), _read(claims))
        return flask.jsonify(body)

    @property
    def key(self) -> Any:
        """The signing key, seen from inside a request."""
        return flask.g.oidc_provider_mock_storage.jwk

    def sign(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        return signed(header, claims, self.key.as_dict(is_private=True))


def signed(header: dict[str, Any], claims: dict[str, Any], key: dict[str, Any]) -> str:
    return jwt.encode(header, claims, jwk.import_key(key), algorithms=[header["alg"]])


def _read(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def _written(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    found = Elsewhere()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join(10)
    found.server.server_close()


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory, elsewhere: Elsewhere) -> Iterator[Hall]:
    with open_hall(
        tmp_path_factory.mktemp("sign-in"),
        oidc_issuer=elsewhere.issuer,
        oidc_client_id="yaosu",
        oidc_client_secret=SECRET,
        oidc_allow="127.0.0.1/32",
    ) as found:
        yield found


@pytest.fixture(autouse=True)
def straight(elsewhere: Elsewhere) -> None:
    elsewhere.twist = None


@pytest.fixture(scope="module")
def owner(hall: Hall) -> Person:
    return hall.person("sso", "buyer", "provider")


class Browser:
    """A browser at the market: cookies, no scripts, redirects followed by hand."""

    def __init__(self, hall: Hall) -> None:
        self.http = httpx2.Client(
            base_url=hall.address, headers={"accept-language": "en"}, timeout=60
        )

    def start(self, **query: str) -> str:
        answer = self.http.get("/login/start", params=query)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def back(self, address: str) -> httpx2.Response:
        return self.http.get(address)

    def sign_in(self, who: str, **query: str) -> httpx2.Response:
        return self.back(agreed(self.start(**query), who))

    def me(self) -> str:
        """The name of the organisation on the page, or nothing."""
        found = re.search(r'class="me"[^>]*>([^<]*)<', self.http.get("/").text)
        return found[1] if found else ""

    def send(self, action: str, **form: str) -> httpx2.Response:
        token = re.search(r'name="form_token" value="(\w+)"', self.http.get("/keys").text)
        assert token
        return self.http.post(action, data={"form_token": token[1], **form})


def agreed(address: str, who: str) -> str:
    """Agree at the provider as somebody; returns the address that leads back."""
    answer = httpx2.post(address, data={"sub": who})
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


def invited(owner: Person, **more: Any) -> str:
    made = owner.post("/v1/invitations", {"name": "新同事", "roles": ["buyer"], **more})
    return str(made["link"]).rsplit("/", 1)[1]


def member_count(owner: Person) -> int:
    return len(owner.get("/v1/members")["items"])


# --- the way in ---------------------------------------------------------------------------------


def test_who_was_invited_comes_in_and_comes_back_as_the_same_person(
    hall: Hall, owner: Person, elsewhere: Elsewhere
) -> None:
    before = member_count(owner)
    browser = Browser(hall)
    page = browser.sign_in("alice@example.org", join=invited(owner), next="/organisation")
    assert page.status_code == 200, page.text
    assert 'content="0;url=/organisation"' in page.text
    assert "SameSite=strict" in page.headers["set-cookie"]
    assert browser.me() == "sso 公司"
    assert member_count(owner) == before + 1
    again = Browser(hall)
    assert again.sign_in("alice@example.org").status_code == 200
    assert again.me() == "sso 公司"
    assert member_count(owner) == before + 1
    exchange = elsewhere.asked[-1]
    assert exchange["auth"].password == SECRET
    assert "client_secret" not in exchange


def test_code_state_nonce_and_challenge_go_as_the_standard_says(
    hall: Hall, owner: Person, elsewhere: Elsewhere
) -> None:
    browser = Browser(hall)
    address = browser.start(join=invited(owner))
    asked = parse_qs(urlsplit(address).query)
    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["state"][0]) >= 43
    assert asked["nonce"][0] != asked["state"][0]
    assert browser.back(agreed(address, "pkce@example.org")).status_code == 200
    verifier = elsewhere.asked[-1]["code_verifier"]
    digest = hashlib.sha256(verifier.encode()).digest()
    assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == asked["code_challenge"][0]


def test_a_stranger_is_nobody_here_and_makes_no_organisation(hall: Hall) -> None:
    parties = len(hall.admin.get("/v1/parties?limit=100")["items"])
    browser = Browser(hall)
    page = browser.sign_in("stranger@example.org")
    assert page.status_code == 403
    assert "invited" in page.text
    assert browser.me() == ""
    assert len(hall.admin.get("/v1/parties?limit=100")["items"]) == parties


def test_a_session_with_a_key_is_bound_and_its_key_is_no_bearer_key(
    hall: Hall, owner: Person
) -> None:
    browser = Browser(hall)
    token = re.search(r'name="form_token" value="(\w+)"', browser.http.get("/login").text)
    assert token
    browser.http.post("/login", data={"form_token": token[1], "key": str(owner.key)})
    page = browser.send("/login/bind")
    address = re.search(r'content="0;url=([^"]+)"', page.text)
    assert address
    assert (
        browser.back(agreed(address[1].replace("&amp;", "&"), "boss@example.org")).status_code
        == 200
    )
    later = Browser(hall)
    later.sign_in("boss@example.org", next="/keys")
    assert later.me() == "sso 公司"
    with hall.market.store.read() as reader:
        from yaosu.model import AccessKey

        keys = [k for k in reader.find(AccessKey, party_id=owner.id) if k.scope == "session"]
    assert keys
    assert all(k.expires_at is not None for k in keys)
    out = later.send("/logout")
    assert "/oauth2/end_session?client_id=yaosu" in out.text.replace("&amp;", "&")
    assert later.me() == ""


def test_a_verified_email_is_enough_only_where_the_operator_says_so(
    tmp_path_factory: pytest.TempPathFactory, elsewhere: Elsewhere, hall: Hall, owner: Person
) -> None:
    def told(email: str, verified: bool) -> None:
        body = {"email": email, "email_verified": verified}
        httpx2.put(f"{elsewhere.issuer}/users/{email}", json=body)

    told("mail@example.org", True)
    invited(owner, email="Mail@example.org")
    assert Browser(hall).sign_in("mail@example.org").status_code == 403
    with open_hall(
        tmp_path_factory.mktemp("by-email"),
        oidc_issuer=elsewhere.issuer,
        oidc_client_id="yaosu",
        oidc_client_secret=SECRET,
        oidc_allow="127.0.0.1/32",
        oidc_by_email=True,
    ) as open_one:
        boss = open_one.person("open", "buyer")
        invited(boss, email="Mail@example.org")
        invited(boss, email="liar@example.org")
        told("liar@example.org", False)
        assert Browser(open_one).sign_in("liar@example.org").status_code == 403
        browser = Browser(open_one)
        page = browser.sign_in("mail@example.org")
        assert page.status_code == 200, page.text
        assert browser.me() == "open 公司"


# --- attacks ------------------------------------------------------------------------------------


def _changed(**claims: Any) -> Callable[[Elsewhere], Twist]:
    def make(there: Elsewhere) -> Twist:
        def twist(head: dict[str, Any], said: dict[str, Any]) -> Any:
            kept = {k: v for k, v in {**said, **claims}.items() if v is not None}
            return there.sign(head, kept)

        return twist

    return make


def _unsigned(there: Elsewhere) -> Twist:
    return lambda head, said: f"{_written({'alg': 'none'})}.{_written(said)}."


def _shared(secret: str) -> Callable[[Elsewhere], Twist]:
    key = {"kty": "oct", "k": base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")}
    return lambda there: lambda head, said: signed({**head, "alg": "HS256"}, said, key)


def _another_key(there: Elsewhere) -> Twist:
    other = jwk.RSAKey.generate_key(2048).as_dict(private=True)
    return lambda head, said: signed(head, said, other)


def _broken(there: Elsewhere) -> Twist:
    return lambda head, said: "not.a.token"


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(_changed(nonce="another"), id="wrong nonce"),
        pytest.param(_changed(nonce=None), id="no nonce"),
        pytest.param(_changed(iss="https://elsewhere.example"), id="foreign issuer"),
        pytest.param(_changed(aud="another-client"), id="wrong audience"),
        pytest.param(_changed(aud=["yaosu", "other"]), id="two audiences and nobody named"),
        pytest.param(_changed(azp="another-client"), id="made for another"),
        pytest.param(_changed(exp=1), id="expired"),
        pytest.param(_changed(exp=None), id="without an end"),
        pytest.param(_changed(iat=4102444800), id="from the future"),
        pytest.param(_changed(sub=None), id="of nobody"),
        pytest.param(_changed(sub=""), id="of no name"),
        pytest.param(_changed(at_hash="AAAAAAAAAAAAAAAAAAAAAA"), id="of another access token"),
        pytest.param(_unsigned, id="alg none"),
        pytest.param(_shared(SECRET), id="alg HS256 with the client's secret"),
        pytest.param(_another_key, id="signed by somebody else"),
        pytest.param(_broken, id="no token"),
    ],
)
def test_a_token_that_does_not_hold_opens_nothing(
    hall: Hall, owner: Person, elsewhere: Elsewhere, attack: Callable[[Elsewhere], Twist]
) -> None:
    elsewhere.twist = attack(elsewhere)
    browser = Browser(hall)
    page = browser.sign_in("mallory@example.org", join=invited(owner))
    assert page.status_code == 403, page.text
    assert "not taken" in page.text
    assert browser.me() == ""


def test_a_code_works_once(hall: Hall, owner: Person) -> None:
    browser = Browser(hall)
    address = agreed(browser.start(join=invited(owner)), "once@example.org")
    kept = dict(browser.http.cookies)
    assert browser.back(address).status_code == 200
    thief = Browser(hall)
    thief.http.cookies.update({"yaosu_sign_in": kept["yaosu_sign_in"]})
    page = thief.back(address)
    assert page.status_code == 403
    assert thief.me() == ""


def test_a_sign_in_begun_elsewhere_never_ends_here(hall: Hall, owner: Person) -> None:
    attacker, victim = Browser(hall), Browser(hall)
    address = agreed(attacker.start(join=invited(owner)), "attacker@example.org")
    assert victim.back(address).status_code == 403  # login CSRF: no flow of this browser
    victim.start()
    assert victim.back(address).status_code == 403  # nor with one of its own
    assert victim.me() == ""
    forged = Browser(hall)
    forged.http.cookies.set("yaosu_sign_in", "e30=.0000")
    assert forged.back(address).status_code == 403


def test_an_answer_of_another_issuer_is_not_taken(hall: Hall, owner: Person) -> None:
    browser = Browser(hall)
    address = agreed(browser.start(join=invited(owner)), "mixed@example.org")
    assert browser.back(f"{address}&iss=https://evil.example").status_code == 403


@pytest.mark.parametrize(
    "where", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_nobody_is_led_away_after_signing_in(hall: Hall, owner: Person, where: str) -> None:
    browser = Browser(hall)
    page = browser.sign_in(f"led-{len(where)}@example.org", join=invited(owner), next=where)
    assert page.status_code == 200
    assert 'content="0;url=/"' in page.text
    assert "evil" not in page.text


def test_new_keys_of_the_provider_are_found(
    hall: Hall, owner: Person, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    Browser(hall).sign_in("rotated@example.org", join=invited(owner))
    monkeypatch.setattr(openid, "AGAIN_S", 0.0)
    fresh = jwk.RSAKey.generate_key(2048, {"kid": "new-one", "use": "sig"})

    def twist(head: dict[str, Any], said: dict[str, Any]) -> str:
        return signed({**head, "kid": "new-one"}, said, fresh.as_dict(private=True))

    elsewhere.twist = twist
    browser = Browser(hall)
    name = "oidc-provider-mock.jwks"
    before = elsewhere.app.view_functions[name]
    assert browser.sign_in("rotated@example.org").status_code == 403
    elsewhere.app.view_functions[name] = lambda: {"keys": [fresh.as_dict(private=False)]}
    try:
        assert browser.sign_in("rotated@example.org").status_code == 200
    finally:
        elsewhere.app.view_functions[name] = before
    elsewhere.twist = None
    assert Browser(hall).sign_in("rotated@example.org").status_code == 200


# --- when it is not there -----------------------------------------------------------------------


def test_without_its_provider_the_market_goes_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with open_hall(
        tmp_path_factory.mktemp("down"),
        oidc_issuer="http://127.0.0.1:9",
        oidc_client_id="yaosu",
        oidc_allow="127.0.0.1/32",
    ) as hall:
        browser = Browser(hall)
        page = browser.http.get("/login/start")
        assert page.status_code == 503
        assert "access key still works" in page.text
        assert hall.admin.get("/v1/me")["roles"] == ["admin"]


def test_a_provider_inside_is_reached_only_where_the_operator_says_so(
    tmp_path_factory: pytest.TempPathFactory, elsewhere: Elsewhere
) -> None:
    with open_hall(
        tmp_path_factory.mktemp("inside"),
        oidc_issuer=elsewhere.issuer,
        oidc_client_id="yaosu",
        outgoing_allow="127.0.0.1/32",  # for webhooks, not for this
    ) as hall:
        assert Browser(hall).http.get("/login/start").status_code == 503


def test_a_market_without_one_shows_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    with open_hall(tmp_path_factory.mktemp("none"), people=False) as hall:
        browser = Browser(hall)
        assert "/login/start" not in browser.http.get("/login").text
        assert browser.http.get("/login/start").status_code == 404


def test_no_secret_of_a_sign_in_is_written_to_a_log(
    hall: Hall, owner: Person, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with contextlib.suppress(AssertionError):
        browser = Browser(hall)
        secret = invited(owner)
        browser.sign_in("logged@example.org", join=secret)
    elsewhere.twist = _broken(elsewhere)
    Browser(hall).sign_in("logged@example.org")
    ours = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("yaosu"))
    for hidden in (
        SECRET,
        secret,
        elsewhere.asked[-1]["code"],
        elsewhere.asked[-1]["code_verifier"],
    ):
        assert hidden not in ours


def test_a_real_browser_comes_back_from_another_site_with_its_session(
    tmp_path_factory: pytest.TempPathFactory, elsewhere: Elsewhere, chromium: str
) -> None:
    """The session's cookie is strict: a redirect from the provider would leave it at the door."""
    api = pytest.importorskip("playwright.sync_api")
    port = urlsplit(elsewhere.issuer).port
    with (
        open_hall(
            tmp_path_factory.mktemp("browser"),
            oidc_issuer=f"http://localhost:{port}",  # another site than 127.0.0.1
            oidc_client_id="yaosu",
            oidc_client_secret=SECRET,
            oidc_allow="127.0.0.1/32,::1/128",
        ) as hall,
        api.sync_playwright() as playwright,
    ):
        owner = hall.person("seen", "buyer")
        link = owner.post("/v1/invitations", {"name": "新同事", "roles": ["buyer"]})["link"]
        engine = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = engine.new_context(locale="en-GB").new_page()
        page.set_default_timeout(20_000)
        page.goto(link)
        page.click("a[href^='/login/start']")
        page.fill("input[name=sub]", "browser@example.org")
        page.press("input[name=sub]", "Enter")
        page.wait_for_url(f"{hall.address}/organisation")
        assert page.locator("a.me").inner_text() == "seen 公司"
        page.goto(f"{hall.address}/waiting")
        assert page.locator("h1").inner_text() == "Waiting for you"
        page.click("form[action='/logout'] button")
        page.wait_for_url(re.compile(rf"http://localhost:{port}/oauth2/end_session"))
        page.goto(f"{hall.address}/waiting")
        assert "/login?" in page.url
        engine.close()
