"""What is to be told of the server's certificates: by `valija certificate list`, `valija status` and the log.

for status in certificate_statuses(config, certificates):
    print(status.names, status.not_after)
"""

from typing import Final

import msgspec

from valija.config import Config
from valija.tls.acme_files import AcmeFiles
from valija.tls.acme_state import RenewalState, read_state
from valija.tls.options import CertificateOptions, Source
from valija.tls.pair import CertificatePair, certificate_summary
from valija.tls.sni import Certificates

RENEW: Final = "renew-certificates"  # the control socket's command for `valija certificate renew`


class CertificateStatus(msgspec.Struct, frozen=True):
    """One certificate that serves; times in seconds since the epoch, None where there is none.

    `wanted` are the names the configuration asks for, `names` those that stand in it. `renewal` is when it will be
    ordered anew; `failures`, `last_error` and `next_attempt` tell of attempts that came to nothing since the last that
    did not.
    """

    wanted: tuple[str, ...]
    source: Source
    names: tuple[str, ...]
    issuer: str
    self_signed: bool
    not_before: float
    not_after: float
    sha256: str
    file: str
    renewal: float | None = None
    failures: int = 0
    last_error: str = ""
    next_attempt: float | None = None


def certificate_statuses(config: Config, certificates: Certificates) -> list[CertificateStatus]:
    """Return what there is to tell of each, the default one first."""
    return [
        _status(wanted, pair, renewal_state(config, wanted))
        for wanted, pair in zip(certificates.wanted, certificates.pairs, strict=True)
    ]


def renewal_state(config: Config, wanted: CertificateOptions) -> RenewalState:
    """Return what is remembered of a certificate's renewals; nothing where it comes from no authority."""
    if wanted.certificate != "acme":
        return RenewalState()
    return read_state(AcmeFiles.of(config.data_dir, config.tls.acme_directory, wanted.names[0]).state)


def _status(wanted: CertificateOptions, pair: CertificatePair, state: RenewalState) -> CertificateStatus:
    summary = certificate_summary(pair)
    return CertificateStatus(
        wanted=wanted.names,
        source=wanted.certificate,
        names=summary.names,
        issuer=summary.issuer,
        self_signed=summary.self_signed,
        not_before=summary.not_before,
        not_after=summary.not_after,
        sha256=summary.sha256,
        file=pair.chain_file,
        renewal=state.renew_at if state.serial == summary.sha256 else None,
        failures=state.failures,
        last_error=state.last_error,
        next_attempt=state.not_before if state.failures else None,
    )
