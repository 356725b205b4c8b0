"""Certificates' files that came from the root helper, for a process that may not read them itself.

    lent = LentFiles()
    await lent.renew(link)                    # every few seconds, and before a new configuration is built
    certificates = Certificates(..., files=lent)

Between two renewals it answers from memory, so that valija/tls/certificates need not know. What the helper does not
know of, and everything when it is gone, is read directly: some files are for this process to read after all.
"""

from valija.logs import Log
from valija.tls.certificates import DIRECT, FileStamp
from valija.tls.pair import CertificatePair, PairFault
from valija.warden.link import Away, Link
from valija.warden.messages import PairRead, PairsRead


class LentFiles:
    """A source of files (tls/certificates) with a memory of what the helper told last."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._pairs: dict[tuple[str, str], PairRead] = {}
        self._stamps: dict[str, FileStamp | None] = {}
        self._seen = b""
        self._said = ""

    async def renew(self, link: Link) -> None:
        """Ask the helper. Where it cannot tell, what it told before stays; where it is gone, nothing does."""
        try:
            told = await link.pairs(self._seen)
        except Away as away:
            self._complain(str(away) if link.is_open else "")  # that it is gone has been said
            if not link.is_open:
                self._remember(PairsRead((), b""))
            return
        self._complain("")
        if told is not None:
            self._remember(told)

    def _remember(self, told: PairsRead) -> None:
        self._seen = told.seen
        self._pairs = {(pair.chain_file, pair.key_file): pair for pair in told.pairs}
        self._stamps = {}
        for pair in told.pairs:
            self._stamps.update(zip((pair.chain_file, pair.key_file), pair.stamps, strict=True))

    def _complain(self, why: str) -> None:
        if why and why != self._said:
            self._log.warning("the root helper has not read the certificates again", reason=why)
        self._said = why

    # What a store of certificates asks

    def stamp(self, path: str) -> FileStamp | None:
        """Return what tells one state of a file from another; None where there is none."""
        return self._stamps[path] if path in self._stamps else DIRECT.stamp(path)

    def read(self, chain_file: str, key_file: str) -> tuple[CertificatePair, list[PairFault]]:
        """Return a pair as it was read last."""
        told = self._pairs.get((chain_file, key_file))
        if told is None:
            return DIRECT.read(chain_file, key_file)
        faults = [PairFault(each.file, each.reason, each.remedy, each.is_fatal) for each in told.faults]
        return CertificatePair(told.chain_pem, told.key_pem, chain_file, key_file), faults
