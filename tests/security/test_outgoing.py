"""Nothing that a stranger names reaches inside: addresses, names that rebind, slow and endless."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from receiver import Receiver, receiver
from yaosu.errors import InvalidInput
from yaosu.outgoing import Answer, Gate, NotSent, is_open, networks

INTERNAL = """
127.0.0.1 127.255.255.254 0.0.0.0 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254
100.64.0.1 100.100.100.200 192.0.0.192 192.0.0.8 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1
224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 192.88.99.1 168.63.129.16
:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1
64:ff9b:1::1 64:ff9b::a9fe:a9fe 2002:7f00:1:: 2002:a00:1:: 2001::1 2001:0:7f00:1:: fec0::1 fe80::1
fc00::1 fd00:ec2::254 ff02::1 2001:db8::1 100::1 3fff::1 5f00::1
"""
OPEN = "1.1.1.1 8.8.8.8 172.32.0.1 100.128.0.1 192.0.1.1 2606:4700:4700::1111 2400:3200::1"
SPELLINGS = """
127.1 0x7f.1 0x7f000001 2130706433 0177.0.0.1 017700000001 127.0.0.1. ①②⑦.⓪.⓪.① localhost
127.0.0.1:443@example.org [::1] [::ffff:127.0.0.1] [64:ff9b::7f00:1] [fe80::1%25eth0] metadata
"""


def post(gate: Gate, url: str, *, deadline_s: float = 5) -> Answer:
    return asyncio.run(gate.post(url, b"{}", {}, deadline_s=deadline_s))


def why(gate: Gate, url: str, **more: float) -> str:
    with pytest.raises(NotSent) as refused:
        post(gate, url, **more)
    return refused.value.code


@pytest.fixture
def canary() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.mark.parametrize("text", INTERNAL.split())
def test_an_internal_address_is_not_open_and_never_connected_to(text: str) -> None:
    assert not is_open(ipaddress.ip_address(text))
    gate = Gate(lookup=lambda host, port: [text])
    assert why(gate, "https://receiver.example/") == "internal"
    mixed = Gate(lookup=lambda host, port: ["1.1.1.1", text])
    assert why(mixed, "https://receiver.example/") == "internal", "all addresses count"


@pytest.mark.parametrize("text", OPEN.split())
def test_an_address_of_the_world_is_open(text: str) -> None:
    assert is_open(ipaddress.ip_address(text))


@pytest.mark.parametrize("host", SPELLINGS.split())
def test_no_spelling_of_an_internal_address_is_taken(host: str) -> None:
    with pytest.raises(InvalidInput):
        Gate().target(f"https://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        "http://receiver.example/",
        "https://receiver.example:22/",
        "https://receiver.example:99999/",
        "https://user@receiver.example/",
        "https://receiver.example/#x",
        "file:///etc/passwd",
        "gopher://receiver.example/",
        "https:///",
        "https://receiver.example/\r\nx: y",
        "https://rec\teiver.example/",
        "https://[::1",
        "https://receiver.example/" + "x" * 2000,
        "",
    ],
)
def test_what_is_no_plain_https_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        Gate().target(url)


def test_a_name_that_rebinds_after_the_check_changes_nothing(canary: Receiver) -> None:
    """The address that was judged is the one connected to; the next try judges anew."""
    answers = [["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1", "10.0.0.1"]]
    asked: list[str] = []

    def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    gate = Gate(networks("127.0.0.1/32"), lookup=lookup)
    port = canary.url.split(":")[2].split("/")[0]
    url = f"http://name-that-does-not-exist.example:{port}/hook?a=1"
    assert post(gate, url).status == 204
    assert canary.got[0].headers["host"] == f"name-that-does-not-exist.example:{port}"
    assert why(gate, url) == "internal"
    assert why(gate, url) == "internal"
    assert (len(asked), len(canary.got)) == (3, 1)


def test_a_closed_network_is_reached_only_where_the_operator_opened_it(canary: Receiver) -> None:
    with pytest.raises(InvalidInput):
        Gate().target(canary.url)
    with pytest.raises(InvalidInput):
        Gate(networks("127.0.0.2/32")).target(canary.url)
    assert post(Gate(networks("127.0.0.0/8")), canary.url).status == 204
    with pytest.raises(InvalidInput):
        networks("everything")


def test_the_proxy_of_the_environment_is_not_used(
    canary: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert post(Gate(networks("127.0.0.0/8")), canary.url).status == 204
        assert proxy.got == []


def test_a_redirect_is_an_answer_and_not_followed(canary: Receiver) -> None:
    with receiver() as inside:
        canary.answer = lambda got: (302, {"location": inside.url}, b"")
        assert post(Gate(networks("127.0.0.0/8")), canary.url).status == 302
        assert inside.got == []


def serve(say: bytes, *, again: bytes = b"", every: float = 0.05) -> tuple[str, threading.Event]:
    """Answer one connection with some bytes, then with others again and again."""
    bound = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def run() -> None:
        connection, _ = bound.accept()
        with bound, connection:
            try:
                connection.recv(65536)
                connection.sendall(say)
                while again and not ended.is_set():
                    connection.sendall(again)
                    time.sleep(every)
                ended.wait(10)
            except OSError:
                ended.set()

    threading.Thread(target=run, daemon=True).start()
    return f"http://127.0.0.1:{bound.getsockname()[1]}/", ended


@pytest.mark.parametrize(
    ("say", "again", "every", "code"),
    [
        (b"", b"", 0, "timeout"),
        (b"", b"H", 0.05, "timeout"),
        (b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n", 0.02, "timeout"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", b"x", 0.05, "timeout"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536, 0, "too_large"),
        (b"HTTP/1.1 200 OK\r\n", b"x-a: " + b"b" * 60000 + b"\r\n", 0, "protocol"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", b"", 0, "protocol"),
    ],
    ids=["silent", "drip", "headers", "slow body", "endless", "endless headers", "no http"],
)
def test_slow_and_endless_answers_end_in_time_and_in_size(
    say: bytes, again: bytes, every: float, code: str
) -> None:
    url, ended = serve(say, again=again, every=every)
    before = time.monotonic()
    assert why(Gate(networks("127.0.0.0/8")), url, deadline_s=0.7) == code
    assert time.monotonic() - before < 3
    ended.set()


def test_tls_is_checked_against_the_name_and_not_the_address(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receiver.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("receiver.example")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "both.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(private + made.public_bytes(Encoding.PEM))
    seen: list[str] = []
    inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inside.load_cert_chain(pem)
    inside.sni_callback = lambda _, given, __: seen.append(given)
    bound = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        for _ in range(2):
            connection, _ = bound.accept()
            try:
                with inside.wrap_socket(connection, server_side=True) as secure:
                    asked = b""
                    while not asked.endswith(b"{}"):  # what is unread at the end is a reset
                        asked += secure.recv(65536)
                    secure.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            except OSError:
                continue

    threading.Thread(target=run, daemon=True).start()
    gate = Gate(networks("127.0.0.0/8"), lookup=lambda host, port: ["127.0.0.1"])
    gate._tls.load_verify_locations(pem)
    port = bound.getsockname()[1]
    assert post(gate, f"https://receiver.example:{port}/").status == 204
    assert why(gate, f"https://another.example:{port}/") == "connect"
    assert seen == ["receiver.example", "another.example"]
    bound.close()
