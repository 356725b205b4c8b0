"""All of the server's certificates: the default one, and those that a client chooses by naming a host (SNI).

    certificates = Certificates(options, "mail.example.org", data_dir, log, time.time)
    certificates.load()          # at the start; raises CertificateFaults
    certificates.context         # for each handshake; it chooses by itself
    certificates.refresh()       # every few seconds

A certificate answers for the names that the configuration gives it, and then for all others that stand in it, wildcards
too; the first in the configuration that has a name wins, the default one before all. No name, an unknown or an odd one
gets the default certificate, never an alert: most mail servers send none, and an `unrecognized_name` would cost their
mail (RFC 6066 section 3 lets it go on).

Where there is one certificate only, OpenSSL is given no callback, and a handshake costs nothing for this.
"""

import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from valija.logs import Log
from valija.tls.certificates import DIRECT, CertificateStore, FileSource
from valija.tls.contexts import server_context
from valija.tls.options import CertificateOptions, TlsOptions
from valija.tls.pair import CertificatePair, certificate_summary

_WILDCARD: Final = "*."


class Certificates:
    """The certificates of one configuration. `read` are pairs that somebody has read already, by their place.

    `files` is where those of `files` are read from then on.
    """

    def __init__(
        self,
        options: TlsOptions,
        hostname: str,
        data_dir: Path,
        log: Log,
        clock: Callable[[], float],
        *,
        read: Mapping[int, CertificatePair] | None = None,
        files: FileSource = DIRECT,
    ) -> None:
        self.wanted = options.wanted(hostname)
        self._read = read or {}
        self._stores = [
            CertificateStore(
                alone(options, each),
                each.names[0],
                data_dir,
                log,
                clock,
                files=files,
                self_signed=_file_name(number, each),
                table=f"[[tls.certificates]] #{number}" if number else "[tls]",
            )
            for number, each in enumerate(self.wanted)
        ]
        self._by_name: dict[str, ssl.SSLContext] = {}

    @property
    def context(self) -> ssl.SSLContext:
        """What listeners hand to each handshake."""
        return self._stores[0].context

    @property
    def pairs(self) -> list[CertificatePair]:
        """The pairs in use, the default one first, as in `wanted`."""
        return [store.pair for store in self._stores]

    def fingerprints(self) -> list[str]:
        """Return the SHA-256 fingerprints of what is in use, in hex, as in `wanted`."""
        return [certificate_summary(pair).sha256 for pair in self.pairs]

    def load(self) -> None:
        """Find each certificate, or make it. Raises CertificateFaults, for the first that could not be used."""
        for number, store in enumerate(self._stores):
            if number in self._read:
                store.begin_with(self._read[number])
            else:
                store.load()
        self._choose_anew()

    def refresh(self) -> bool:
        """Take up what has changed on disk; return whether anything did. Never raises for files."""
        changed = [store.refresh() for store in self._stores]  # every one of them, whatever the others say
        if any(changed):
            self._choose_anew()
        return any(changed)

    def _choose_anew(self) -> None:
        if len(self._stores) == 1:
            return
        self._by_name = table([(store.context, store.pair) for store in self._stores], self.wanted)
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        chosen = find(self._by_name, name) if name else None
        if chosen is not None and chosen is not connection.context:
            connection.context = chosen


def table(
    served: Sequence[tuple[ssl.SSLContext, CertificatePair]], wanted: Sequence[CertificateOptions]
) -> dict[str, ssl.SSLContext]:
    """Return which context answers for a name, of those that `served` and `wanted` tell of in the same order."""
    by_name: dict[str, ssl.SSLContext] = {}
    found = [[name.lower() for name in certificate_summary(pair).names] for _, pair in served]
    meant = [[name for name in each.names if name in names] for each, names in zip(wanted, found, strict=True)]
    for names_of_each in (meant, found):
        for (context, _), names in zip(served, names_of_each, strict=True):
            for name in names:
                by_name.setdefault(name, context)
    return by_name


def static_context(served: Sequence[tuple[CertificatePair, CertificateOptions]]) -> ssl.SSLContext:
    """Return the context of pairs that stay as they are, the default one first, which chooses as the others do."""
    contexts = [(server_context(pair.chain_pem, pair.key_pem), pair) for pair, _ in served]
    by_name = table(contexts, [wanted for _, wanted in served])

    def choose(connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        chosen = find(by_name, name) if name else None
        if chosen is not None:
            connection.context = chosen

    default = contexts[0][0]
    default.sni_callback = choose
    return default


def find(by_name: Mapping[str, ssl.SSLContext], name: str) -> ssl.SSLContext | None:
    """Return what answers for a host: its own name, or a wildcard for its first label (RFC 9525)."""
    name = name.lower().removesuffix(".")
    exact = by_name.get(name)
    return exact if exact is not None else by_name.get(_WILDCARD + name.partition(".")[2])


def alone(options: TlsOptions, each: CertificateOptions) -> TlsOptions:
    """Return the options as they are for one certificate."""
    return msgspec.structs.replace(
        options,
        certificate=each.certificate,
        names=each.names[1:],
        cert_file=each.cert_file,
        key_file=each.key_file,
        certificates=(),
    )


def _file_name(number: int, each: CertificateOptions) -> str:
    """Return what the self-signed one is called: two certificates do not share a file."""
    return f"self-signed-{each.names[0].replace('*', '_')}" if number else "self-signed"
