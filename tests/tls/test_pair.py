"""What is said of a certificate and its key before they are used (C114)."""

import datetime
import os
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.ca import CertificateAuthority, Issued, key_pem
from tests.reachable import let_all_in
from valija.tls.pair import (
    CertificatePair,
    PairFault,
    certificate_summary,
    check_pair,
    covers,
    read_pair,
)
from valija.tls.self_signed import LIFETIME, make_self_signed

HOST = "mail.example.org"
CA = CertificateAuthority()


def faults_of(chain: Path, key: Path, hostname: str = HOST) -> list[PairFault]:
    pair, faults = read_pair(str(chain), str(key))
    return faults + check_pair(pair, hostname, time.time())


def only(faults: list[PairFault]) -> PairFault:
    assert len(faults) == 1, faults
    assert faults[0].remedy
    return faults[0]


@pytest.mark.parametrize("key", [None, rsa.generate_private_key(65537, 2048)], ids=["ecdsa", "rsa"])
def test_good_pair(tmp_path: Path, key: rsa.RSAPrivateKey | None) -> None:
    assert faults_of(*CA.intermediate().issue("*.example.org", HOST, key=key).write(tmp_path)) == []


def test_c114_key_of_another_certificate(tmp_path: Path) -> None:
    chain, _ = CA.issue(HOST).write(tmp_path, "a")
    _, key = CA.issue(HOST).write(tmp_path, "b")
    fault = only(faults_of(chain, key))
    assert fault.is_fatal
    assert str(chain) in str(fault)
    assert str(key) in str(fault)


def test_c114_missing_files(tmp_path: Path) -> None:
    chain, key = tmp_path / "no.pem", tmp_path / "no.key"
    faults = faults_of(chain, key)
    assert [fault.value for fault in faults] == [str(chain), str(key)]
    assert all(fault.is_fatal and "No such file" in fault.reason for fault in faults)


def test_c114_not_set() -> None:
    _, faults = read_pair("", "")
    assert ["cert_file" in str(faults[0]), "key_file" in str(faults[1])] == [True, True]


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_c114_empty_files(tmp_path: Path, content: bytes) -> None:
    faults = faults_of(*Issued(content, content).write(tmp_path))
    assert [fault.reason for fault in faults] == ["it is empty", "it is empty"]


def test_c114_folder_instead_of_a_file(tmp_path: Path) -> None:
    _, faults = read_pair(str(tmp_path), str(tmp_path))
    assert all("directory" in fault.reason for fault in faults)


def test_c114_key_with_a_passphrase(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issued = CA.issue(HOST, key=key)._replace(key_pem=key_pem(key, b"secret"))
    fault = only(faults_of(*issued.write(tmp_path)))
    assert "passphrase" in fault.reason
    assert fault.is_fatal


@pytest.mark.parametrize("swap", [False, True])
def test_c114_garbage_and_swapped_files(tmp_path: Path, swap: bool) -> None:
    good = CA.issue(HOST)
    wrong = Issued(good.key_pem, good.chain_pem) if swap else Issued(b"\xff\0 nonsense", b"-----BEGIN nonsense")
    faults = faults_of(*wrong.write(tmp_path))
    assert len(faults) == 2
    assert "certificate in PEM" in faults[0].reason
    assert "private key in PEM" in faults[1].reason


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o440])
def test_key_modes_that_are_fine(tmp_path: Path, mode: int) -> None:
    chain, key = CA.issue(HOST).write(tmp_path)
    key.chmod(mode)
    assert faults_of(chain, key) == []


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666, 0o777])
def test_key_that_others_can_use(tmp_path: Path, mode: int) -> None:
    chain, key = CA.issue(HOST).write(tmp_path)
    key.chmod(mode)
    fault = only(faults_of(chain, key))
    assert fault.is_fatal
    assert fault.value == str(key)
    assert fault.remedy == f"chmod 0640 {key}"


def test_key_behind_a_symbolic_link_is_judged_by_its_own_mode(tmp_path: Path) -> None:
    chain, key = CA.issue(HOST).write(tmp_path)
    link = tmp_path / "live.key"
    link.symlink_to(key)
    assert faults_of(chain, link) == []
    key.chmod(0o644)
    assert only(faults_of(chain, link)).is_fatal


def test_key_that_only_another_user_can_read(tmp_path: Path) -> None:
    chain, key = CA.issue(HOST).write(tmp_path)
    key.chmod(0)
    let_all_in(tmp_path)
    pid = os.fork()
    if pid == 0:
        if os.geteuid() == 0:  # whom no mode stops
            os.setresuid(65534, 65534, 65534)
        _, faults = read_pair(str(chain), str(key))
        os._exit(0 if "Permission denied" in str(faults[0]) and "as root" in faults[0].remedy else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_leaf_that_is_not_first(tmp_path: Path) -> None:
    issued = CA.intermediate().issue(HOST)
    end = b"-----END CERTIFICATE-----\n"
    leaf, intermediate, _ = issued.chain_pem.split(end)
    fault = only(faults_of(*issued._replace(chain_pem=intermediate + end + leaf + end).write(tmp_path)))
    assert "not the first" in fault.reason


def test_chain_of_strangers(tmp_path: Path) -> None:
    issued = CA.issue(HOST)
    fault = only(
        faults_of(*issued._replace(chain_pem=issued.chain_pem + CertificateAuthority("X").pem).write(tmp_path))
    )
    assert "number 2 did not issue" in fault.reason
    assert not fault.is_fatal


@pytest.mark.parametrize(("days", "words"), [((-30.0, -1.0), "expired on 20"), ((1.0, 30.0), "not valid before 20")])
def test_dates(tmp_path: Path, days: tuple[float, float], words: str) -> None:
    fault = only(faults_of(*CA.issue(HOST, days=days).write(tmp_path)))
    assert words in fault.reason
    assert not fault.is_fatal


def test_other_host_name(tmp_path: Path) -> None:
    fault = only(faults_of(*CA.issue("smtp.example.org", "example.net").write(tmp_path)))
    assert "for smtp.example.org, example.net, not for mail.example.org" in fault.reason
    assert not fault.is_fatal


def test_common_name_does_not_count(tmp_path: Path) -> None:
    assert "no host name at all" in only(faults_of(*CA.issue(common_name=HOST).write(tmp_path))).reason


def test_key_that_openssl_refuses(tmp_path: Path) -> None:
    short = rsa.generate_private_key(65537, 1024)
    fault = only(faults_of(*CA.issue(HOST, key=short).write(tmp_path)))
    assert "ee key too small" in fault.reason
    assert fault.is_fatal


@pytest.mark.parametrize(
    ("name", "hostname", "expected"),
    [
        ("mail.example.org", "mail.example.org", True),
        ("MAIL.Example.org", "mail.example.ORG", True),
        ("mail.example.org.", "mail.example.org", True),
        ("*.example.org", "mail.example.org", True),
        ("*.example.org", "a.mail.example.org", False),
        ("*.example.org", "example.org", False),
        ("*.example.org", ".example.org", False),
        ("*", "localhost", False),
        ("m*.example.org", "mail.example.org", False),
        ("*.2.0.192", "1.2.0.192", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("example.org", "mail.example.org", False),
    ],
)
def test_covers(name: str, hostname: str, expected: bool) -> None:
    assert covers(name, hostname) is expected


@pytest.mark.parametrize(
    "hostname", [HOST, "localhost", "127.0.0.1", "xn--bcher-kva.example", "a" * 60 + ".example.org"]
)
def test_self_signed_has_no_faults(hostname: str) -> None:
    now = time.time()
    pair = make_self_signed(hostname, now)
    assert check_pair(pair, hostname, now) == []
    summary = certificate_summary(pair)
    assert summary.names == (hostname,)
    assert summary.self_signed
    assert summary.not_before < now - 3600
    assert summary.not_after == pytest.approx(now + LIFETIME.total_seconds(), abs=2)


def test_summary() -> None:
    issued = CA.issue(HOST, "192.0.2.1", days=(-1, 10))
    summary = certificate_summary(CertificatePair(*issued))
    assert summary.names == (HOST, "192.0.2.1")
    assert summary.issuer == "CN=Root"
    assert not summary.self_signed
    assert len(bytes.fromhex(summary.sha256)) == 32
    expected = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=10)
    assert summary.not_after == pytest.approx(expected.timestamp(), abs=5)


def test_summary_of_garbage() -> None:
    with pytest.raises(ValueError, match="PEM"):
        certificate_summary(CertificatePair(b"nonsense", b""))
