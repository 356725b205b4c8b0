"""The server's certificate while it runs: found or made at the start, renewed without anybody noticing.

    store = CertificateStore(options, "mail.example.org", data_dir, log, time.time)
    store.load()                 # at the start; raises CertificateFaults
    store.context                # for each handshake
    store.refresh()              # every few seconds, and on SIGHUP: costs two stat() calls when nothing changed

A changed file is taken up by the next refresh, for handshakes from then on; sessions that are open keep theirs. A pair
that is broken, or half written (the chain first, the key seconds later), leaves the one in use where it is, and is said
once. A process that may read root's keys calls read_pair() before it drops its privileges, and begin_with() after that;
workers that are forked from one store share its session tickets. What only root can read is read again by others, who
look like a FileSource to this (valija/warden/lent).
"""

import contextlib
import fcntl
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from valija.logs import Log
from valija.tls.acme_files import AcmeFiles, incomplete, read_issued, write_private
from valija.tls.contexts import server_context
from valija.tls.options import TlsOptions
from valija.tls.pair import CertificatePair, PairFault, certificate_summary, check_pair, read_pair
from valija.tls.self_signed import make_self_signed

RENEW_BEFORE: Final = 30 * 86400.0  # seconds before its end that a self-signed certificate is replaced
_UNSETTLED: Final = 2.0  # a file this fresh, in seconds, may change again without changing its time

FileStamp = tuple[int, int, int]  # time of change in nanoseconds, size, inode
Stamp = tuple[FileStamp | None, ...]


class FileSource(Protocol):
    """Where the files of `files` are read."""

    def stamp(self, path: str) -> FileStamp | None:
        """Return what tells one state of a file from another; None where there is none."""

    def read(self, chain_file: str, key_file: str) -> tuple[CertificatePair, list[PairFault]]:
        """Return a pair, and what is wrong with it."""


class _Direct:
    """The disk, as far as this process may read it."""

    def stamp(self, path: str) -> FileStamp | None:
        try:
            status = os.stat(path)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def read(self, chain_file: str, key_file: str) -> tuple[CertificatePair, list[PairFault]]:
        return read_pair(chain_file, key_file)


DIRECT: Final[FileSource] = _Direct()


class CertificateFaults(Exception):
    """There is no certificate to start with; `faults` says of each file why, and the text is one line per fault."""

    def __init__(self, faults: list[PairFault], options: TlsOptions, table: str = "[tls]") -> None:
        super().__init__("\n".join(_placed(fault, options, table) for fault in faults))
        self.faults = faults


def _placed(fault: PairFault, options: TlsOptions, table: str) -> str:
    """Return a fault with the setting in front that names the file, where one does."""
    keys = {options.cert_file: "cert_file", options.key_file: "key_file"}
    key = keys.get(str(fault.value))
    return f'{table} {key} = "{fault.value}": {fault.reason}; {fault.remedy}' if key else str(fault)


class CertificateStore:
    """Holds the pair in use and its context.

    `options` say where it comes from, `hostname` and `options.names` what it is for. Of other certificates
    (`options.certificates`) it knows nothing: see valija/tls/sni. `self_signed` is the name of the file, without its
    ending, of the one that is made here; `table` is where the configuration speaks of it.
    """

    def __init__(
        self,
        options: TlsOptions,
        hostname: str,
        data_dir: Path,
        log: Log,
        clock: Callable[[], float],
        *,
        files: FileSource = DIRECT,
        self_signed: str = "self-signed",
        table: str = "[tls]",
    ) -> None:
        self._files = files
        self._table = table
        self._options = options
        self._hostname = hostname
        self._also = tuple(name for name in options.names if name != hostname)
        self._folder = data_dir / "tls"
        self._issued = AcmeFiles.of(data_dir, options.acme_directory, hostname)
        self._made = (str(self._folder / f"{self_signed}.pem"), str(self._folder / f"{self_signed}.key"))
        self._log = log
        self._clock = clock
        self._seen: Stamp | None = None
        self._said = ""
        self._renew_at = float("inf")
        self.pair: CertificatePair
        self.context: ssl.SSLContext

    def begin_with(self, pair: CertificatePair) -> None:
        """Begin with a pair that somebody else has read, instead of load(). Raises CertificateFaults."""
        self._start_with(pair, [])
        self._seen = self._stamp()

    def load(self) -> None:
        """Find the certificate, or make it. What is wrong with it but does not stop it is logged.

        Raises CertificateFaults where there is none that could be used.
        """
        self._seen = self._settled_stamp()
        try:
            self._start_with(*self._obtain())
        except CertificateFaults as error:
            if self._options.certificate != "acme":
                raise
            # What an authority issued can be had again, and mail need not wait for it.
            self._log.error("certificate unusable, a self-signed one stands in for it", reason=str(error))
            self._start_with(*self._make())

    def refresh(self) -> bool:
        """Take up a pair that has changed on disk; return whether the context is a new one. Never raises for files."""
        stamp = self._settled_stamp()
        if stamp is not None and stamp == self._seen and self._clock() < self._renew_at:
            return False
        self._seen = stamp
        try:
            pair, faults = self._obtain()
        except CertificateFaults as error:
            self._keep(error.faults)
            return False
        return self._consider(pair, faults)

    def _start_with(self, pair: CertificatePair, faults: list[PairFault]) -> None:
        faults = faults + self._check(pair)
        if any(fault.is_fatal for fault in faults):
            raise CertificateFaults(faults, self._options, self._table)
        for fault in faults:
            self._log.warning("certificate fault", file=fault.value, reason=fault.reason, remedy=fault.remedy)
        self._take(pair)

    def _consider(self, pair: CertificatePair, faults: list[PairFault]) -> bool:
        if not faults and (pair.chain_pem, pair.key_pem) == (self.pair.chain_pem, self.pair.key_pem):
            self._said = ""
            return False
        faults = faults + self._check(pair)
        is_better = not faults or bool(self._check(self.pair))
        if any(fault.is_fatal for fault in faults) or not is_better:
            self._keep(faults)
            return False
        self._take(pair)
        self._said = ""
        summary = certificate_summary(pair)
        self._log.info("certificate renewed", file=pair.chain_file, names=summary.names, sha256=summary.sha256)
        return True

    def _check(self, pair: CertificatePair) -> list[PairFault]:
        return check_pair(pair, self._hostname, self._clock(), self._also)

    def _keep(self, faults: list[PairFault]) -> None:
        """Say once why a new pair is not taken."""
        reason = "; ".join(map(str, faults))
        if reason != self._said:
            self._said = reason
            self._log.error("certificate not renewed, the one in use stays", reason=reason)

    def _take(self, pair: CertificatePair) -> None:
        self.context = server_context(pair.chain_pem, pair.key_pem)
        self.pair = pair
        is_made_here = pair.chain_file == self._made[0]
        self._renew_at = certificate_summary(pair).not_after - RENEW_BEFORE if is_made_here else float("inf")

    # Where the pair comes from

    @property
    def _paths(self) -> tuple[str, ...]:
        """The files that tell by their change that there may be a new pair."""
        if self._options.certificate == "files":
            return self._options.cert_file, self._options.key_file
        if self._options.certificate == "acme":
            return str(self._issued.current), *self._made
        return self._made

    def _obtain(self) -> tuple[CertificatePair, list[PairFault]]:
        if self._options.certificate == "files":
            return self._files.read(self._options.cert_file, self._options.key_file)
        if self._options.certificate == "acme":
            return self._obtain_issued()
        return self._make()

    def _obtain_issued(self) -> tuple[CertificatePair, list[PairFault]]:
        """Return what the authority has issued, or, while there is nothing, what is made here."""
        path = self._issued.current
        try:
            pair = read_issued(path)
            return pair, incomplete(pair)
        except FileNotFoundError:
            # One that serves is not given up for a file that vanished, but for one that was taken back.
            if self._serves_issued and not self._issued.rejected.exists():
                faults = [PairFault(str(path), "it is gone", "have it issued again: valija certificate renew")]
                raise CertificateFaults(faults, self._options, self._table) from None
        except OSError as error:
            faults = [PairFault(str(path), f"it cannot be read: {error.strerror}", "give it to the service's user")]
            raise CertificateFaults(faults, self._options, self._table) from None
        return self._make()

    @property
    def _serves_issued(self) -> bool:
        return hasattr(self, "pair") and self.pair.chain_file == str(self._issued.current)

    def _make(self) -> tuple[CertificatePair, list[PairFault]]:
        try:
            return self._self_signed(), []
        except OSError as error:
            what = f"the self-signed certificate cannot be kept there: {error.strerror}"
            remedy = "let the service's user write to data_dir"
            raise CertificateFaults([PairFault(str(self._folder), what, remedy)], self._options, self._table) from None

    def _self_signed(self) -> CertificatePair:
        """Return the pair that was made, or make it: once, whatever number of processes ask."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        with _locked(self._folder):
            pair, faults = read_pair(*self._made)
            if faults or not self._is_still_good(pair):
                made = make_self_signed(self._hostname, self._clock(), self._also)
                pair = CertificatePair(made.chain_pem, made.key_pem, *self._made)
                write_private(Path(pair.key_file), pair.key_pem)
                write_private(Path(pair.chain_file), pair.chain_pem)
        return pair

    def _is_still_good(self, pair: CertificatePair) -> bool:
        """Whether a pair made earlier serves on. A clock that is behind is no reason to make another one."""
        faults = check_pair(pair, self._hostname, _moment_of_validity(pair), self._also)
        return not faults and self._clock() < certificate_summary(pair).not_after - RENEW_BEFORE

    def _stamp(self) -> Stamp:
        source = self._files if self._options.certificate == "files" else DIRECT
        return tuple(map(source.stamp, self._paths))

    def _settled_stamp(self) -> Stamp | None:
        """Return what tells one state of the files from another; None while they are too fresh to tell."""
        stamp = self._stamp()
        newest = max((each[0] for each in stamp if each), default=0) / 1e9
        return None if abs(self._clock() - newest) < _UNSETTLED else stamp


def _moment_of_validity(pair: CertificatePair) -> float:
    try:
        return certificate_summary(pair).not_before
    except ValueError:
        return 0.0


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
