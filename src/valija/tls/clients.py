"""Client certificates: which handshakes ask for one, and whom they are believed from.

    clients = ClientAuthorities("/etc/valija/users-ca.pem", log)      # `""`: nobody is asked
    clients.asking(certificates.context)                              # for a handshake with a mail user

A file that can't be used costs the logins by certificate, never a handshake: it is said once, and nobody is asked.
"""

import ssl

from valija.logs import Log
from valija.tls.contexts import ServerContext


class ClientAuthorities:
    """The authorities in a PEM file, as it is when this is made."""

    def __init__(self, file: str, log: Log) -> None:
        self._pem = ""
        if not file:
            return
        try:
            self._pem = _read(file)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            remedy = "let the service's user read it, and reload"
            log.error("client certificates are not asked for", file=file, reason=str(error), remedy=remedy)

    def asking(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """Return a listener's context as one that asks for a certificate, where there is anybody to believe."""
        return context.asking(self._pem) if self._pem and isinstance(context, ServerContext) else context


def _read(file: str) -> str:
    with open(file, encoding="ascii", errors="ignore") as content:  # comments may be in any language
        pem = content.read()
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=pem)
    return pem
