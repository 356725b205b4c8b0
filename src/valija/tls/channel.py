"""What a login may be bound to, or proved by, in the TLS of one connection.

    channel = TlsChannel.of(transport)         # None in clear
    channel.binding()                          # what tls-server-end-point binds to, b"" for none
    channel.client_certificate()               # DER, b"" for none

Which of several certificates a connection got (SNI) is what its own context says: each ServerContext knows its
certificate. Nothing is worked out before it is asked for.

Known weaknesses: `tls-exporter` (RFC 9266) is missing, as Python's ssl module gives nobody the exporter of RFC 8446. A
client that resumes a session which began under a certificate that was renewed since may bind to the former one, and is
refused once.
"""

import ssl
from asyncio import BaseTransport

from valija.tls.contexts import ServerContext


class TlsChannel:
    """The TLS of one connection on the server's side."""

    __slots__ = ("_connection",)

    def __init__(self, connection: ssl.SSLObject | ssl.SSLSocket) -> None:
        self._connection = connection

    @classmethod
    def of(cls, transport: BaseTransport) -> "TlsChannel | None":
        """Return the channel of a transport, None in clear."""
        connection = transport.get_extra_info("ssl_object")
        return None if connection is None else cls(connection)

    def binding(self) -> bytes:
        """What `tls-server-end-point` binds to (RFC 5929 section 4), b"" where the certificate has none."""
        context = self._connection.context
        return context.end_point if isinstance(context, ServerContext) else b""

    def client_certificate(self) -> bytes:
        """The client's certificate in DER, verified by the handshake; b"" where it showed none."""
        if self._connection.context.verify_mode == ssl.CERT_NONE:
            return b""  # nobody has looked at what is there
        return self._connection.getpeercert(binary_form=True) or b""
