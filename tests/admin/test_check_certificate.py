"""The certificate: each date of its chain, who trusts it, and who can read it again."""

import time
from pathlib import Path

import msgspec
import pytest

from tests.admin.lab import MINE, bad
from tests.ca import CertificateAuthority, Issued
from tests.config.facts import FACTS
from tests.reachable import let_all_in
from valija.admin.check_certificate import check_certificates, served_chain
from valija.admin.check_chain import why_distrusted
from valija.admin.findings import Finding
from valija.config import Config, parse
from valija.privileges import Account
from valija.tls.acme_files import AcmeFiles
from valija.tls.acme_state import RenewalState, write_state
from valija.tls.options import CertificateOptions
from valija.tls.pair import CertificatePair

STRANGER = Account("stranger", 4321, 4321, (4321,))


def configured(folder: Path, issued: Issued) -> Config:
    issued.write(folder)
    text = f'{MINE}[tls]\ncertificate = "files"\ncert_file = "server.pem"\nkey_file = "server.key"\n'
    return parse(text, "valija.toml", folder, FACTS)


def found_for(folder: Path, issued: Issued, *, after: float = 0.0, reader: Account | None = None) -> list[Finding]:
    return list(check_certificates(configured(folder, issued), time.time() + after, reader))


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CertificateAuthority:
    """One that the system trusts."""
    made = CertificateAuthority()
    monkeypatch.setenv("SSL_CERT_FILE", str(made.write_root(tmp_path / "root.pem")))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return made


def test_a_certificate_without_fault(tmp_path: Path, authority: CertificateAuthority) -> None:
    found = found_for(tmp_path, authority.issue("mail.example.org"))
    assert bad(found) == []
    assert found[-1].text == "its chain leads to an authority of the system's store"


def test_a_chain_of_three(tmp_path: Path, authority: CertificateAuthority) -> None:
    assert bad(found_for(tmp_path, authority.intermediate().issue("mail.example.org"))) == []


def test_a_chain_without_its_intermediate(tmp_path: Path, authority: CertificateAuthority) -> None:
    whole = authority.intermediate().issue("mail.example.org")
    leaf = whole.chain_pem.split(b"-----END CERTIFICATE-----\n")[0] + b"-----END CERTIFICATE-----\n"
    (only,) = bad(found_for(tmp_path, Issued(leaf, whole.key_pem)))
    assert only.grade == "warning"
    assert "would refuse it: unable to get local issuer certificate" in only.text
    assert "issuer behind it" in only.remedy


def test_an_authority_that_nobody_knows(tmp_path: Path, authority: CertificateAuthority) -> None:
    (only,) = bad(found_for(tmp_path, CertificateAuthority("Stranger").issue("mail.example.org")))
    assert only.grade == "warning"
    assert "a client that trusts the system's authorities would refuse it" in only.text


def test_a_name_is_verified_too(authority: CertificateAuthority) -> None:
    issued = authority.issue("mail.example.org")
    pair = CertificatePair(issued.chain_pem, issued.key_pem)
    assert why_distrusted(pair, "mail.example.org") == ""
    assert "Hostname mismatch" in why_distrusted(pair, "other.example.org")


@pytest.mark.parametrize(
    ("days", "words"),
    [
        ((-80, 10), ""),
        ((-80, 6), "ends in 6 days"),
        ((-300, 13.1), "ends in 13 days"),
        ((-300, 15), ""),
        ((-5, 2), ""),
        ((-6, 0.4), "ends in 10 hours"),
    ],
)
def test_one_that_ends_soon(
    tmp_path: Path, authority: CertificateAuthority, days: tuple[float, float], words: str
) -> None:
    found = bad(found_for(tmp_path, authority.issue("mail.example.org", days=days)))
    assert [finding.grade for finding in found] == (["warning"] if words else [])
    assert words in "".join(finding.text for finding in found)


def test_an_expired_intermediate_is_a_failure(tmp_path: Path, authority: CertificateAuthority) -> None:
    issued = authority.intermediate("Old").issue("mail.example.org", days=(-5000, 8000))
    found = bad(found_for(tmp_path, issued, after=4000 * 86400.0))
    assert ("failure", "certificate") in {(finding.grade, finding.topic) for finding in found}
    assert any("its certificate number 2 (CN=Old) expired on " in finding.text for finding in found)
    early = bad(found_for(tmp_path, issued, after=-4000 * 86400.0))
    assert any("number 2 (CN=Old) is not valid before " in finding.text for finding in early)


def test_what_the_root_helper_reads_again(tmp_path: Path, authority: CertificateAuthority) -> None:
    issued = authority.issue("mail.example.org")
    chain, key = issued.write(tmp_path)
    let_all_in(tmp_path)
    chain.chmod(0o644)
    words = f"[tls] key_file = \"{key}\": user 'stranger' cannot read {key}; the root helper reads it again"
    assert [found for found in found_for(tmp_path, issued, reader=STRANGER) if found.text.startswith(words)]
    assert "root helper" not in str(found_for(tmp_path, issued, reader=Account("root", 0, 0, ())))


def test_a_certificate_that_is_made_here(tmp_path: Path) -> None:
    text = f'{MINE}data_dir = "{tmp_path}"'
    config = parse(text, "valija.toml", tmp_path, FACTS)
    first, second = check_certificates(config, time.time(), None)
    assert (first.grade, second.grade) == ("ok", "warning")
    assert served_chain(config) == b""
    (tmp_path / "tls").mkdir()
    chain = CertificateAuthority().issue("mail.example.org").chain_pem
    (tmp_path / "tls" / "self-signed.pem").write_bytes(chain)
    assert served_chain(config) == chain


# Those that an authority issues


def ordered(folder: Path) -> tuple[Config, AcmeFiles]:
    config = parse(f'{MINE}data_dir = "{folder}"', "valija.toml", folder, FACTS)
    tls = msgspec.structs.replace(config.tls, certificate="acme", names=("smtp.example.org",))
    files = AcmeFiles.of(folder, tls.acme_directory, "mail.example.org")
    return msgspec.structs.replace(config, tls=tls), files


def keep(files: AcmeFiles, issued: Issued) -> None:
    files.stage(CertificatePair(issued.chain_pem, issued.key_pem))
    files.promote()


def test_one_that_was_issued(tmp_path: Path, authority: CertificateAuthority) -> None:
    config, files = ordered(tmp_path)
    issued = authority.issue("mail.example.org", "smtp.example.org")
    keep(files, issued)
    found = list(check_certificates(config, time.time(), None))
    assert bad(found) == []
    assert f"{files.current} is for mail.example.org, smtp.example.org, valid until " in found[0].text
    assert served_chain(config) == issued.chain_pem


def test_one_that_was_not_issued_yet(tmp_path: Path) -> None:
    config, files = ordered(tmp_path)
    (only,) = check_certificates(config, time.time(), None)
    assert only.grade == "warning"
    assert "has not issued one for mail.example.org yet" in only.text
    write_state(files.state, RenewalState(failures=3, last_error="no such host"))
    _, second = check_certificates(config, time.time(), None)
    assert (second.grade, second.topic) == ("warning", "certificate")
    assert "came to nothing, 3 times so far: no such host" in second.text


def test_one_that_lacks_a_name(tmp_path: Path, authority: CertificateAuthority) -> None:
    config, files = ordered(tmp_path)
    keep(files, authority.issue("mail.example.org"))
    (only,) = check_certificates(config, time.time(), None)
    assert only.grade == "failure"
    assert f"{files.current}: the certificate is for mail.example.org, not for smtp.example.org" in only.text


def test_a_second_certificate_is_judged_by_its_own_names(tmp_path: Path, authority: CertificateAuthority) -> None:
    config = configured(tmp_path, authority.issue("mail.example.org"))
    second = authority.issue("*.example.net")
    chain, key = second.write(tmp_path, "second")
    wanted = CertificateOptions("files", ("mx.example.net",), str(chain), str(key))
    config = msgspec.structs.replace(config, tls=msgspec.structs.replace(config.tls, certificates=(wanted,)))
    assert bad(list(check_certificates(config, time.time(), None))) == []
    wrong = msgspec.structs.replace(wanted, names=("mx.example.com",))
    config = msgspec.structs.replace(config, tls=msgspec.structs.replace(config.tls, certificates=(wrong,)))
    (only,) = bad(list(check_certificates(config, time.time(), None)))
    assert only.grade == "failure"
    assert only.text.startswith(f'[[tls.certificates]] #1 cert_file = "{chain}": the certificate is for *.example.net')
