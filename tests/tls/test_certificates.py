"""The certificate in use while the files change under it (C115)."""

import multiprocessing
import os
import socket
import ssl
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
import structlog
from structlog.typing import EventDict

from tests.ca import CertificateAuthority, Issued
from valija.logs import Log
from valija.tls.certificates import RENEW_BEFORE, CertificateFaults, CertificateStore
from valija.tls.contexts import client_context
from valija.tls.options import TlsOptions
from valija.tls.pair import CertificatePair, certificate_summary, read_pair

HOST = "mail.example.org"
CA = CertificateAuthority()
DAY = 86400.0


class Surroundings:
    """A store with its folder, a log that is remembered, and a clock that can be moved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chain, self.key = folder / "chain.pem", folder / "chain.key"
        self.lines: list[EventDict] = []
        self.ahead = 0.0
        self._age = 1000.0

    @property
    def log(self) -> Log:
        def note(_logger: object, level: str, event: EventDict) -> EventDict:
            self.lines.append({**event, "level": level})
            raise structlog.DropEvent

        return cast("Log", structlog.wrap_logger(None, processors=[note]))

    def clock(self) -> float:
        return time.time() + self.ahead

    def put(self, chain: bytes | None = None, key: bytes | None = None) -> None:
        """Write files that have lain there for a while, each time a little less."""
        for path, content in ((self.chain, chain), (self.key, key)):
            if content is not None:
                path.touch(0o600)
                path.write_bytes(content)
                self._age -= 1
                os.utime(path, (time.time() - self._age,) * 2)

    def put_pair(self, issued: Issued) -> Issued:
        self.put(issued.chain_pem, issued.key_pem)
        return issued

    def store(self, kind: str = "files", hostname: str = HOST) -> CertificateStore:
        options = TlsOptions(
            certificate="files" if kind == "files" else "self-signed", cert_file=str(self.chain), key_file=str(self.key)
        )
        return CertificateStore(options, hostname, self.folder, self.log, self.clock)

    def errors(self) -> list[str]:
        return [line["reason"] for line in self.lines if line["level"] == "error"]


@pytest.fixture
def here(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path)


@pytest.fixture
def running(here: Surroundings) -> CertificateStore:
    """A store that runs with a good pair."""
    here.put_pair(CA.issue(HOST))
    store = here.store()
    store.load()
    return store


def test_start_with_files(here: Surroundings, running: CertificateStore) -> None:
    assert running.context.get_ciphers()
    assert running.refresh() is False
    assert here.lines == []


def test_c115_changed_files_are_taken_up(here: Surroundings, running: CertificateStore) -> None:
    before = running.context
    renewed = here.put_pair(CA.issue(HOST))
    assert running.refresh() is True
    assert running.context is not before
    assert running.pair.chain_pem == renewed.chain_pem
    assert here.lines[-1]["event"] == "certificate renewed"
    assert running.refresh() is False


def test_c115_sessions_that_are_open_go_on(here: Surroundings, running: CertificateStore) -> None:
    old_server, old_client = _session(running)
    renewed = here.put_pair(CA.issue(HOST))
    assert running.refresh() is True
    _, new_client = _session(running)
    assert ssl.DER_cert_to_PEM_cert(new_client.getpeercert(True) or b"").encode() == renewed.chain_pem
    old_client.sendall(b"NOOP\r\n")
    assert old_server.recv(100) == b"NOOP\r\n"
    old_server.sendall(b"250 ok\r\n")
    assert old_client.recv(100) == b"250 ok\r\n"


def _session(store: CertificateStore) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.settimeout(10)
    with ThreadPoolExecutor() as pool:
        server = pool.submit(store.context.wrap_socket, ours, server_side=True)
        client = pool.submit(client_context(verify=False).wrap_socket, theirs)
        return server.result(), client.result()


def test_c115_chain_first_key_later(here: Surroundings, running: CertificateStore) -> None:
    before, renewed = running.context, CA.issue(HOST)
    here.put(chain=renewed.chain_pem)
    for _ in range(4):
        assert running.refresh() is False
    assert running.context is before
    assert len(here.errors()) == 1
    assert "does not belong to the certificate" in here.errors()[0]
    here.put(key=renewed.key_pem)
    assert running.refresh() is True
    assert running.pair.key_pem == renewed.key_pem


@pytest.mark.parametrize("broken", [b"", b"nonsense", CA.issue(HOST).chain_pem[:300]])
def test_c115_broken_new_file(here: Surroundings, running: CertificateStore, broken: bytes) -> None:
    before = running.context
    here.put(chain=broken)
    assert not any(running.refresh() for _ in range(3))
    assert running.context is before
    assert len(here.errors()) == 1


def test_c115_files_that_vanish_and_come_back(here: Surroundings, running: CertificateStore) -> None:
    old = Issued(running.pair.chain_pem, running.pair.key_pem)
    here.chain.unlink()
    assert not any(running.refresh() for _ in range(3))
    assert len(here.errors()) == 1
    here.put(chain=old.chain_pem)
    assert running.refresh() is False, "the same pair again is no new one"
    here.chain.unlink()
    running.refresh()
    assert len(here.errors()) == 2, "a fault that came back is said again"


def test_c115_key_of_the_new_pair_that_others_can_read(here: Surroundings, running: CertificateStore) -> None:
    before = running.context
    here.put_pair(CA.issue(HOST))
    here.key.chmod(0o644)
    assert running.refresh() is False
    assert "chmod 0640" in here.errors()[0]
    assert running.context is before
    here.key.chmod(0o640)
    here.put(key=here.key.read_bytes())
    assert running.refresh() is True


@pytest.mark.parametrize("worse", [("other.example", (-1, 90)), (HOST, (-9, -1)), (HOST, (1, 9))])
def test_c115_new_pair_that_is_worse(
    here: Surroundings, running: CertificateStore, worse: tuple[str, tuple[float, float]]
) -> None:
    before = running.context
    here.put_pair(CA.issue(worse[0], days=worse[1]))
    assert running.refresh() is False
    assert running.context is before
    assert len(here.errors()) == 1


def test_c115_imperfect_pair_after_an_expired_one(here: Surroundings) -> None:
    here.put_pair(CA.issue(HOST, days=(-9, -1)))
    store = here.store()
    store.load()
    assert here.lines[0]["event"] == "certificate fault"
    here.put_pair(CA.issue("other.example"))
    assert store.refresh() is True


def test_c115_certbots_links(here: Surroundings) -> None:
    """`live/` holds links into `archive/`, and a renewal turns them."""
    CA.issue(HOST).write(here.folder, "archive1")
    renewed = CA.issue(HOST)
    renewed.write(here.folder, "archive2")
    here.chain.symlink_to(here.folder / "archive1.pem")
    here.key.symlink_to(here.folder / "archive1.key")
    store = here.store()
    store.load()
    for link, kind in ((here.chain, "pem"), (here.key, "key")):
        link.unlink()
        link.symlink_to(here.folder / f"archive2.{kind}")
        store.refresh()
    assert store.pair.chain_pem == renewed.chain_pem


def test_a_change_within_the_tick_of_the_files_clock_is_seen(here: Surroundings) -> None:
    """Same size, same inode, same time: what was read while it was fresh is looked at again."""
    issued = CA.issue(HOST)
    here.put_pair(issued)
    now = time.time_ns()
    broken = issued.chain_pem.replace(b"\nM", b"\nN", 1)
    here.chain.write_bytes(broken)
    os.utime(here.chain, ns=(now, now))
    store = here.store()
    with pytest.raises(CertificateFaults):
        store.load()
    here.chain.write_bytes(issued.chain_pem)
    store.load()
    here.chain.write_bytes(broken)
    os.utime(here.chain, ns=(now, now))
    store.refresh()
    assert len(here.errors()) == 1


def test_c114_start_is_refused(here: Surroundings) -> None:
    here.put(CA.issue(HOST).chain_pem, CA.issue(HOST).key_pem)
    with pytest.raises(CertificateFaults) as caught:
        here.store().load()
    assert str(here.chain) in str(caught.value)
    assert str(here.key) in str(caught.value)


def test_c114_one_line_per_fault(here: Surroundings) -> None:
    with pytest.raises(CertificateFaults) as caught:
        here.store().load()
    assert len(str(caught.value).splitlines()) == len(caught.value.faults) == 2


def test_begin_with_a_pair_that_was_read(here: Surroundings) -> None:
    here.put_pair(CA.issue(HOST))
    pair, _ = read_pair(str(here.chain), str(here.key))
    store = here.store()
    store.begin_with(pair)
    assert store.context.get_ciphers()
    assert store.refresh() is False
    here.put_pair(CA.issue(HOST))
    assert store.refresh() is True
    with pytest.raises(CertificateFaults):
        here.store().begin_with(CertificatePair(pair.chain_pem, b"no key"))


def test_self_signed_is_made_once(here: Surroundings) -> None:
    first, second = here.store("self-signed"), here.store("self-signed")
    first.load()
    second.load()
    assert first.pair == second.pair
    assert certificate_summary(first.pair).names == (HOST,)
    for name in ("self-signed.pem", "self-signed.key"):
        assert stat.S_IMODE((here.folder / "tls" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((here.folder / "tls").stat().st_mode) == 0o700
    assert sorted(path.name for path in (here.folder / "tls").iterdir()) == ["self-signed.key", "self-signed.pem"]


def test_self_signed_is_made_anew_for_another_host_name(here: Surroundings) -> None:
    here.store("self-signed").load()
    other = here.store("self-signed", "smtp.example.net")
    other.load()
    assert certificate_summary(other.pair).names == ("smtp.example.net",)


def test_self_signed_is_made_anew_before_it_ends(here: Surroundings) -> None:
    store = here.store("self-signed")
    store.load()
    first = certificate_summary(store.pair)
    here.ahead = first.not_after - RENEW_BEFORE - time.time() - DAY
    assert store.refresh() is False
    here.ahead += 2 * DAY
    assert store.refresh() is True
    assert certificate_summary(store.pair).not_after > first.not_after
    assert store.refresh() is False


def test_self_signed_survives_a_clock_that_is_behind(here: Surroundings) -> None:
    store = here.store("self-signed")
    store.load()
    here.ahead = -3000 * DAY
    again = here.store("self-signed")
    again.load()
    assert again.pair == store.pair


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
@pytest.mark.parametrize("name", ["self-signed.pem", "self-signed.key"])
def test_damaged_self_signed_is_made_anew(here: Surroundings, damage: bytes | None, name: str) -> None:
    here.store("self-signed").load()
    path = here.folder / "tls" / name
    path.unlink() if damage is None else path.write_bytes(damage)
    store = here.store("self-signed")
    store.load()
    assert store.context.get_ciphers()


def _load_and_tell(make: Callable[[], CertificateStore], answer: "multiprocessing.SimpleQueue[bytes]") -> None:
    store = make()
    store.load()
    answer.put(store.pair.chain_pem)


def test_processes_that_start_at_once_share_one_self_signed(here: Surroundings) -> None:
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    make = lambda: here.store("self-signed")  # noqa: E731 - handed to a forked process
    processes = [fork.Process(target=_load_and_tell, args=(make, answers)) for _ in range(4)]
    for process in processes:
        process.start()
    assert len({answers.get() for _ in processes}) == 1
    for process in processes:
        process.join()


def test_self_signed_where_nothing_can_be_written(here: Surroundings) -> None:
    (here.folder / "tls").write_bytes(b"a file in the way")
    with pytest.raises(CertificateFaults, match="data_dir"):
        here.store("self-signed").load()
