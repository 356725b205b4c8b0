"""Files of certificates from an authority: who may read them, and what is there at each moment."""

import os
import stat
from pathlib import Path

import pytest

from tests.ca import CertificateAuthority, Issued
from valija.tls.acme_files import AcmeFiles, authority_folder, read_issued, write_private
from valija.tls.acme_state import RenewalState, read_state, write_state
from valija.tls.pair import CertificatePair, check_pair

CA = CertificateAuthority().intermediate()
URL = "https://acme.example/directory"
HOST = "mail.example.org"


@pytest.fixture
def files(tmp_path: Path) -> AcmeFiles:
    return AcmeFiles.of(tmp_path / "data", URL, HOST)


def pair_of(issued: Issued) -> CertificatePair:
    return CertificatePair(issued.chain_pem, issued.key_pem)


def put(files: AcmeFiles) -> Issued:
    issued = CA.issue(HOST)
    files.stage(pair_of(issued))
    files.promote()
    return issued


def test_key_and_chain_come_back(files: AcmeFiles) -> None:
    issued = put(files)
    found = read_issued(files.current)
    assert found.chain_pem.split() == issued.chain_pem.split()
    assert found.key_pem.split() == issued.key_pem.split()
    assert b"PRIVATE" not in found.chain_pem
    assert check_pair(found, HOST, os.path.getmtime(files.current)) == []


def test_all_of_it_is_the_owners_alone(files: AcmeFiles, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        put(files)
        put(files)
        write_state(files.state, RenewalState(failures=1))
    finally:
        os.umask(old)
    for path in (tmp_path / "data").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_one_takes_the_others_place(files: AcmeFiles) -> None:
    first, second = put(files), put(files)
    assert read_issued(files.current).key_pem.split() == second.key_pem.split()
    assert read_issued(files.previous).key_pem.split() == first.key_pem.split()
    assert not files.staged.exists()


def test_the_one_before_comes_back(files: AcmeFiles) -> None:
    first, second = put(files), put(files)
    files.roll_back()
    assert read_issued(files.current).key_pem.split() == first.key_pem.split()
    assert read_issued(files.rejected).key_pem.split() == second.key_pem.split()


def test_taking_back_the_first_one_leaves_none(files: AcmeFiles) -> None:
    put(files)
    files.roll_back()
    assert not files.current.exists()
    put(files)
    assert files.current.exists()
    assert not files.rejected.exists()


def test_authorities_do_not_share_a_folder(tmp_path: Path) -> None:
    urls = [
        URL,
        "https://acme.example/Directory",
        "https://acme.example/directory/",
        "https://acme.example:444/directory",
    ]
    assert len({authority_folder(tmp_path, url) for url in urls}) == len(urls)


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder = authority_folder(tmp_path, "https://acme.example/../../../etc/passwd")
    assert folder.parent == tmp_path / "tls" / "acme"
    assert AcmeFiles.of(tmp_path, URL, "*.example.org").folder.name == "_.example.org"


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "key.pem.new").symlink_to(tmp_path / "elsewhere")
    write_private(tmp_path / "key.pem", b"secret")
    assert not (tmp_path / "elsewhere").exists()
    assert (tmp_path / "key.pem").read_bytes() == b"secret"


@pytest.mark.parametrize("content", [None, b"", b"nonsense", b'{"failures": "many"}'])
def test_state_that_is_missing_or_damaged(files: AcmeFiles, content: bytes | None) -> None:
    if content is not None:
        files.folder.mkdir(parents=True)
        files.state.write_bytes(content)
    assert read_state(files.state) == RenewalState()


def test_state_comes_back(files: AcmeFiles) -> None:
    state = RenewalState(window=(1.0, 2.0)).failed("no", "challenge", 10.0, 20.0, (HOST,))
    write_state(files.state, state)
    assert read_state(files.state) == state
    assert (state.failures, state.not_before) == (1, 20.0)
