"""Orders as the authority sees them, and its answers as an administrator is told them (RFC 8555, 9773)."""

import base64
import os
import stat
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from cryptography import x509

from tests.acme_stub import AcmeStub
from valija.tls.acme_client import seconds_of
from valija.tls.acme_files import authority_folder
from valija.tls.acme_order import run
from valija.tls.acme_task import AcmeAnswer, AcmeTask
from valija.tls.options import TlsOptions
from valija.tls.pair import CertificatePair, certificate_summary, check_pair

HOST = "mail.example.org"


@pytest.fixture
def authority() -> Iterator[AcmeStub]:
    with AcmeStub() as stub:
        yield stub


@pytest.fixture
def order(authority: AcmeStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AcmeAnswer]:
    """Run a task at the stub, whose orders are ready at once; settings are laid over those that reach it."""
    monkeypatch.setattr("acme.client.time", SimpleNamespace(sleep=lambda _: None))

    def run_one(what: Any = "order", *, current_pem: str = "", key_pem: str = "", **settings: Any) -> AcmeAnswer:
        options = TlsOptions(certificate="acme", acme_directory=authority.directory, acme_ca_file=authority.ca_file)
        options = msgspec.structs.replace(options, **settings)
        folder = authority_folder(tmp_path, options.acme_directory)
        names = (HOST, "smtp.example.org")
        return run(AcmeTask(what, options, names, str(folder), current_pem=current_pem, key_pem=key_pem))

    return run_one


def test_a_pair_comes_back(order: Callable[..., AcmeAnswer]) -> None:
    answer = order()
    assert answer.failure is None
    pair = CertificatePair(answer.chain_pem.encode(), answer.key_pem.encode())
    assert check_pair(pair, HOST, time.time(), ["smtp.example.org"]) == []


def test_each_certificate_has_its_own_key(order: Callable[..., AcmeAnswer]) -> None:
    assert order().key_pem != order().key_pem


def test_a_key_that_is_to_stay_is_certified_again(order: Callable[..., AcmeAnswer]) -> None:
    first = order()
    second = order(key_pem=first.key_pem)
    assert second.key_pem == first.key_pem
    old, new = (x509.load_pem_x509_certificate(each.chain_pem.encode()) for each in (first, second))
    assert old.public_key() == new.public_key()
    assert first.chain_pem != second.chain_pem


def test_the_account_key_is_made_once_and_is_private(
    order: Callable[..., AcmeAnswer], authority: AcmeStub, tmp_path: Path
) -> None:
    order(acme_email="postmaster@example.org")
    path = authority_folder(tmp_path, authority.directory) / "account.pem"
    first = path.read_bytes()
    order()
    assert path.read_bytes() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert authority.contacts == [("mailto:postmaster@example.org",), ()]


@pytest.mark.parametrize("damage", ["mode", "content"])
def test_an_account_key_that_cannot_be_used(
    order: Callable[..., AcmeAnswer], authority: AcmeStub, tmp_path: Path, damage: str
) -> None:
    order()
    path = authority_folder(tmp_path, authority.directory) / "account.pem"
    path.chmod(0o644) if damage == "mode" else path.write_text("nonsense")
    failure = order().failure
    assert failure
    assert failure.kind == "ours"
    assert str(path) in failure.reason


def test_a_profile_is_passed_on(order: Callable[..., AcmeAnswer], authority: AcmeStub) -> None:
    order(acme_profile="shortlived")
    assert authority.orders[-1].profile == "shortlived"


def test_limits_are_told_with_their_time(order: Callable[..., AcmeAnswer], authority: AcmeStub) -> None:
    authority.problem, authority.retry_after = "rateLimited", "7200"
    failure = order().failure
    assert failure
    assert (failure.kind, failure.retry_after) == ("rate-limited", 7200.0)
    assert "not today" in failure.reason


@pytest.mark.parametrize(
    ("problem", "kind"), [("rejectedIdentifier", "refused"), ("caa", "refused"), ("serverInternal", "unreachable")]
)
def test_a_refused_order(order: Callable[..., AcmeAnswer], authority: AcmeStub, problem: str, kind: str) -> None:
    authority.problem = problem
    failure = order().failure
    assert failure
    assert failure.kind == kind
    assert f"{problem}: not today" in failure.reason


def test_an_authority_that_demands_a_binding(order: Callable[..., AcmeAnswer], authority: AcmeStub) -> None:
    authority.demands_binding = True
    failure = order().failure
    assert failure
    assert "external account binding" in failure.reason


def test_an_authority_that_is_not_trusted(order: Callable[..., AcmeAnswer], authority: AcmeStub) -> None:
    failure = order(acme_ca_file="").failure
    assert failure
    assert failure.kind == "unreachable"
    assert "acme_ca_file" in failure.reason
    assert authority.orders == []


def test_a_list_of_authorities_from_the_environment_is_honoured(
    order: Callable[..., AcmeAnswer], authority: AcmeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority.ca_file)
    assert order(acme_ca_file="").failure is None
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.ca_file)
    assert order(acme_ca_file="").failure, "another program's variable decides nothing here"


def test_no_authority_there(order: Callable[..., AcmeAnswer]) -> None:
    failure = order(acme_directory="https://127.0.0.1:9/dir").failure
    assert failure
    assert failure.kind == "unreachable"
    assert "Connection refused" in failure.reason


# Asking when to renew


def test_no_window_from_an_authority_without_ari(order: Callable[..., AcmeAnswer]) -> None:
    chain = order().chain_pem
    answer = order("ask", current_pem=chain)
    assert answer.failure is None
    assert answer.window is None


def test_window(order: Callable[..., AcmeAnswer], authority: AcmeStub) -> None:
    chain = order().chain_pem
    authority.window, authority.retry_after = (1_800_000_000.0, 1_800_086_400.0), "21600"
    answer = order("ask", current_pem=chain)
    assert answer.window == (1_800_000_000.0, 1_800_086_400.0)
    assert answer.retry_after == 21600.0
    issuer, serial = authority.asked[-1].split(".")
    leaf = x509.load_pem_x509_certificates(chain.encode())[0]
    assert _number(serial) == leaf.serial_number
    assert issuer
    assert "=" not in authority.asked[-1]


def _number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big", signed=True)


def test_a_renewal_says_what_it_replaces(order: Callable[..., AcmeAnswer], authority: AcmeStub) -> None:
    authority.window = (1_800_000_000.0, 1_800_086_400.0)
    chain = order().chain_pem
    assert authority.orders[-1].replaces == ""
    order("ask", current_pem=chain)
    order(current_pem=chain)
    assert authority.orders[-1].replaces == authority.asked[-1]


def test_what_is_replaced_already_is_renewed_all_the_same(
    order: Callable[..., AcmeAnswer], authority: AcmeStub
) -> None:
    authority.window, authority.refuses_replaces = (1_800_000_000.0, 1_800_086_400.0), True
    answer = order(current_pem=order().chain_pem)
    assert answer.failure is None
    assert authority.orders[-1].replaces == ""


def test_replaces_is_not_sent_to_who_does_not_know_it(order: Callable[..., AcmeAnswer], authority: AcmeStub) -> None:
    order(current_pem=order().chain_pem)
    assert authority.orders[-1].replaces == ""


def test_short_lived(order: Callable[..., AcmeAnswer], authority: AcmeStub) -> None:
    authority.days = (0, 6)
    answer = order()
    summary = certificate_summary(CertificatePair(answer.chain_pem.encode(), b""))
    assert summary.not_after - summary.not_before == pytest.approx(6 * 86400)


@pytest.mark.parametrize(
    ("header", "seconds"), [("120", 120.0), ("", 0.0), ("soon", 0.0), ("-5", 0.0), ("9" * 30, 0.0)]
)
def test_retry_after(header: str, seconds: float) -> None:
    assert seconds_of(header, time.time) == seconds


def test_retry_after_as_a_date() -> None:
    now = 1_800_000_000.0
    assert seconds_of(formatdate(now + 90, usegmt=True), lambda: now) == 90.0
    assert seconds_of(formatdate(now - 90, usegmt=True), lambda: now) == 0.0
