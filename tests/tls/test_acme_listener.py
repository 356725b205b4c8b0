"""The answers on ports 80 and 443: what they say, to whom, and that they are silent afterwards (RFC 8555, 8737)."""

import contextlib
import hashlib
import socket
import ssl
from collections.abc import Iterator

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from valija.tls import acme_listener
from valija.tls.acme_alpn import IDENTIFIER, PROTOCOL, answer_tls, challenge_pair
from valija.tls.acme_listener import answer_http, http_answer

PATH = "/.well-known/acme-challenge/token"
TEXTS = {PATH: "token.thumbprint"}


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    """A socket as the server binds it: not listening."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        # bound to a chosen port, as it would be by configuration: only then the system leaves it bound for good
        port = bound.getsockname()[1]
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
        yield again


def ask(bound: socket.socket, request: bytes) -> bytes:
    answer = b""
    with socket.create_connection(bound.getsockname(), timeout=10) as client:
        client.sendall(request)
        while piece := client.recv(4096):
            answer += piece
    return answer


def test_a_challenge_is_answered_again_and_again(bound: socket.socket) -> None:
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            ask(bound, b"")
        with answer_http([bound.fileno()], TEXTS):
            for _ in range(3):
                answer = ask(bound, f"GET {PATH} HTTP/1.1\r\nHost: mail.example.org\r\n\r\n".encode())
                assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
                assert answer.endswith(b"\r\n\r\ntoken.thumbprint")
    with pytest.raises(ConnectionRefusedError):
        ask(bound, b"")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (f"GET {PATH} HTTP/1.0", 200),
        (f"GET {PATH}?x=1 HTTP/1.1", 200),
        (f"HEAD {PATH} HTTP/1.1", 200),
        (f"GET {PATH}/ HTTP/1.1", 404),
        ("GET / HTTP/1.1", 404),
        ("GET /.well-known/acme-challenge/../acme-challenge/token HTTP/1.1", 404),
        (f"POST {PATH} HTTP/1.1", 405),
        ("GET", 400),
        ("EHLO example.org", 400),
        ("", 400),
    ],
)
def test_only_the_challenge_is_there(request_line: str, status: int) -> None:
    answer = http_answer(request_line.encode() + b"\r\n\r\n", TEXTS)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert (b"thumbprint" in answer) == (status == 200 and not request_line.startswith("HEAD"))


@given(st.binary(max_size=300))
def test_garbage_is_answered_too(garbage: bytes) -> None:
    answer = http_answer(garbage, TEXTS)
    assert answer.startswith(b"HTTP/1.1 ")
    assert b"\r\n\r\n" in answer


def test_a_head_without_end_is_hung_up_on(bound: socket.socket) -> None:
    with answer_http([bound.fileno()], TEXTS):
        with socket.create_connection(bound.getsockname(), timeout=10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000)
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(100) == b""
        assert ask(bound, f"GET {PATH} HTTP/1.0\r\n\r\n".encode()).endswith(b"thumbprint")


def test_who_says_nothing_keeps_nobody_out(bound: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acme_listener, "PATIENCE", 0.2)
    with answer_http([bound.fileno()], TEXTS):
        silent = [socket.create_connection(bound.getsockname(), timeout=10) for _ in range(64)]
        for each in silent:
            assert each.recv(1) == b""
            each.close()
        assert ask(bound, f"GET {PATH} HTTP/1.0\r\n\r\n".encode()).endswith(b"thumbprint")


# Port 443


def shake_hands(bound: socket.socket, name: str | None, protocol: str = PROTOCOL) -> tuple[bytes, str | None]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    raw = socket.create_connection(bound.getsockname(), timeout=10)
    with raw, context.wrap_socket(raw, server_hostname=name) as client:
        return client.getpeercert(binary_form=True) or b"", client.selected_alpn_protocol()


def test_each_name_has_its_proof(bound: socket.socket) -> None:
    proofs = {"a.example.org": "one.thumb", "b.example.org": "two.thumb"}
    with answer_tls([bound.fileno()], proofs):
        for name, authorization in proofs.items():
            shown, protocol = shake_hands(bound, name)
            assert protocol == PROTOCOL
            certificate = x509.load_der_x509_certificate(shown)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.DNSName) == [name]
            proof = certificate.extensions.get_extension_for_oid(IDENTIFIER)
            assert proof.critical
            assert isinstance(proof.value, x509.UnrecognizedExtension)
            assert proof.value.value == b"\x04\x20" + hashlib.sha256(authorization.encode()).digest()
    with pytest.raises(ConnectionRefusedError):
        shake_hands(bound, "a.example.org")


@pytest.mark.parametrize("name", ["other.example.org", None])
def test_no_other_name_has_one(bound: socket.socket, name: str | None) -> None:
    with answer_tls([bound.fileno()], {"a.example.org": "one.thumb"}), pytest.raises(ssl.SSLError):
        shake_hands(bound, name)


def test_a_proof_says_no_more_than_it_has_to() -> None:
    certificate = x509.load_pem_x509_certificate(challenge_pair("a.example.org", "one.thumb").chain_pem)
    assert {each.oid.dotted_string for each in certificate.extensions} == {"2.5.29.17", IDENTIFIER.dotted_string}
