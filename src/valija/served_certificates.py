"""The certificates that one worker serves under one configuration, and who is asked for one in return.

served = ServedCertificates(certificates, config, log, lent=ground.lent, helper=link)
context = served.context_for("submission")      # for a handshake that begins now
await served.refresh()                          # take up what was renewed
served = await served.under(new_config)         # CertificateFaults where its files are wrong
"""

import ssl
import time
from typing import Self

from valija.config import Config
from valija.logs import Log
from valija.mail.origin import Role
from valija.tls.certificates import DIRECT
from valija.tls.clients import ClientAuthorities
from valija.tls.sni import Certificates
from valija.warden.lent import LentFiles
from valija.warden.link import Link


class ServedCertificates:
    """What a worker shows. `lent` and `helper`: where there is a root helper, it reads what only root may read."""

    def __init__(
        self, certificates: Certificates, config: Config, log: Log, *, lent: LentFiles | None, helper: Link | None
    ) -> None:
        self._certificates = certificates
        self._config = config
        self._log = log
        self._lent = lent
        self._helper = helper
        self._clients = ClientAuthorities(config.sasl.external_ca_file, log)

    def context_for(self, role: Role) -> ssl.SSLContext:
        """Return the context for a handshake that begins now: only mail users are asked for a certificate of theirs."""
        context = self._certificates.context
        return context if role == "smtpd" else self._clients.asking(context)

    def fingerprints(self) -> list[str]:
        """Return the SHA-256 of each certificate."""
        return self._certificates.fingerprints()

    async def refresh(self) -> None:
        """Take up renewed certificates."""
        if self._lent is not None and self._helper is not None:
            await self._lent.renew(self._helper)
        self._certificates.refresh()

    async def under(self, config: Config) -> Self:
        """Return what is served under a new configuration; certificates that it does not change stay."""
        await self.refresh()
        certificates = self._certificates
        if (config.tls, config.hostname) != (self._config.tls, self._config.hostname):
            files = self._lent or DIRECT
            certificates = Certificates(config.tls, config.hostname, config.data_dir, self._log, time.time, files=files)
            certificates.load()
        return type(self)(certificates, config, self._log, lent=self._lent, helper=self._helper)
