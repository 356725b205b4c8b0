"""The upgrade of a running connection to TLS, with the guards that asyncio and uvloop need.

    handshake = start_tls(self.transport, self, context, server_side=True, timeout=60.0)   # acts at once
    ...
    try:
        self.transport = await handshake
    except TlsFailed as failure:
        ...                      # the connection is closed already; str(failure) says why

The contract for the author of a protocol, on either side and for either loop:

- Make the call in the turn of the loop in which the last octets in clear were read or written (STARTTLS, its 220), or
  in `connection_made` itself where TLS comes first. The call, not the await, is what stands between: octets that
  come after it belong to TLS. Await what it returns exactly once, in a task if need be.
- Until then nothing more is called on the protocol. What the peer sends right behind the handshake is kept and
  delivered in the loop's next turn: the caller has stored the new transport by then, if it awaits nothing first.
- After TlsFailed, or when the waiting task is cancelled, the connection is closed, and the protocol hears
  `connection_lost` exactly once, in a later turn.
- The new transport is reading, and writing to it is not paused, whatever the old one's state was.

The guards. A loop must not start TLS while clear text waits in the write buffer (uvloop#564, python/cpython#109051), so
it is drained first. Plain asyncio delivers data before its start_tls() returns. Both start reading after
`connection_made`, even if that paused it, so that a ClientHello can be there before any task has run. When the
connection breaks within the handshake, neither loop tells the protocol, and an abort of ours looks like success.

Known weakness: what a peer sends in clear behind STARTTLS, and is read together with it, only the SMTP machine can see
and refuse (RFC 3207 section 6); what comes later fails as a malformed handshake.
"""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

SHUTDOWN_TIMEOUT: Final = 5.0  # seconds for the peer's close_notify; many peers never send one

_DATES: Final = (9, 10)  # OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED
_CLOSED: Final = "the connection was closed during the TLS handshake"


class TlsFailed(Exception):
    """TLS did not come about; the text says why.

    `is_verification` tells that the peer's certificate was refused, `is_expired` that a date in it was the reason.
    """

    def __init__(self, text: str, *, is_verification: bool = False, is_expired: bool = False) -> None:
        super().__init__(text)
        self.is_verification = is_verification
        self.is_expired = is_expired


def start_tls(
    transport: asyncio.Transport,
    protocol: asyncio.Protocol,
    context: ssl.SSLContext,
    *,
    server_side: bool,
    server_hostname: str | None = None,
    timeout: float,
) -> Coroutine[Any, Any, asyncio.Transport]:
    """Upgrade a connection; the coroutine returns the transport to use from now on.

    `timeout`, in seconds, bounds everything: sending what is still in clear, and the handshake. `server_hostname` is
    sent as SNI and checked where the context verifies. The coroutine raises TlsFailed, and closes the connection, for
    everything that the peer, the network or the certificates do.
    """
    gate = None if transport.is_closing() else _Gate(transport, protocol)
    return _upgrade(gate, timeout, context, server_side, server_hostname)


async def _upgrade(
    gate: "_Gate | None", patience: float, context: ssl.SSLContext, server_side: bool, server_hostname: str | None
) -> asyncio.Transport:
    if gate is None:
        raise TlsFailed("the connection was closed before the TLS handshake")
    try:
        async with asyncio.timeout(patience) as deadline:
            await gate.drained()
            upgraded = await asyncio.get_running_loop().start_tls(
                gate.ready_for_tls(),
                gate,
                context,
                server_side=server_side,
                server_hostname=server_hostname,
                ssl_handshake_timeout=patience + 1.0,  # ours comes first
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
            )
        if upgraded is None or upgraded.get_extra_info("ssl_object") is None:
            raise TlsFailed(_CLOSED)
    except BaseException as error:
        gate.close(error)
        if isinstance(error, TimeoutError) and deadline.expired():
            raise TlsFailed(f"no TLS handshake within {patience:g} s") from None
        if isinstance(error, OSError | ValueError):  # ssl.SSLError is an OSError; a bad server name a ValueError
            raise _in_words(error) from error
        raise
    gate.open(upgraded)
    return upgraded


def _in_words(error: OSError | ValueError) -> TlsFailed:
    if isinstance(error, ssl.SSLCertVerificationError):
        is_expired = error.verify_code in _DATES
        words = f"certificate not accepted: {error.verify_message}"
        return TlsFailed(words, is_verification=True, is_expired=is_expired)
    if isinstance(error, ssl.SSLError):
        reason = error.reason or error.strerror or str(error)
        return TlsFailed(f"TLS handshake failed: {reason.replace('_', ' ').lower()}")
    if isinstance(error, ConnectionError) and not error.strerror:
        return TlsFailed(_CLOSED)
    return TlsFailed(f"TLS handshake failed: {getattr(error, 'strerror', None) or error}")


class _Gate(asyncio.Protocol):
    """Stands between the loop and the protocol from the last clear octet until the new transport is known."""

    def __init__(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._drained: asyncio.Future[None] | None = None
        self._data = b""
        self._eof = False
        self._lost: tuple[Exception | None] | None = None
        self._paused = False  # what the transport told us
        self._owes_resume = False  # the protocol was told to pause before the upgrade
        self._stepped_aside = False
        transport.pause_reading()
        transport.set_protocol(self)

    async def drained(self) -> None:
        """Return when the peer has taken all that was written in clear."""
        transport = self._transport
        if not transport.get_write_buffer_size():
            return
        low, high = transport.get_write_buffer_limits()
        self._drained = asyncio.get_running_loop().create_future()
        transport.set_write_buffer_limits(0)  # from now on resume_writing() means empty
        await self._drained
        if not transport.is_closing():
            transport.set_write_buffer_limits(high, low)

    def ready_for_tls(self) -> asyncio.Transport:
        """Return the transport for the loop's start_tls(), and see that TLS gets what was read already."""
        if self._transport.is_closing():
            raise ConnectionResetError
        self._drained = None
        if self._data:
            # Runs when start_tls() has put its protocol in place, and before that begins the handshake.
            asyncio.get_running_loop().call_soon(_feed, self._transport.get_protocol, self._data)
            self._data = b""
        return self._transport

    def open(self, upgraded: asyncio.Transport) -> None:
        """Step aside; what was kept goes to the protocol once the caller has had its turn."""
        self._transport = upgraded
        if self._data or self._eof or self._lost or self._owes_resume:
            asyncio.get_running_loop().call_soon(self._hand_over)
        else:
            self._stepped_aside = True
            upgraded.set_protocol(self._protocol)

    def close(self, error: BaseException) -> None:
        """Close the connection and tell the protocol, whatever the loop tells or does not tell the gate."""
        if self._drained is not None:
            self._drained.cancel()
        self._transport.abort()
        reason = error if isinstance(error, OSError) else None
        asyncio.get_running_loop().call_soon(self._protocol.connection_lost, reason)

    def _hand_over(self) -> None:
        transport, protocol = self._transport, self._protocol
        transport.set_protocol(protocol)
        self._stepped_aside = True
        try:
            if self._owes_resume and not self._paused:
                protocol.resume_writing()
            elif self._paused and not self._owes_resume:
                protocol.pause_writing()
            closed_by_caller = transport.is_closing() and not (self._eof or self._lost)
            if self._data and not closed_by_caller:  # a peer's last words before it went are heard
                protocol.data_received(self._data)
            if self._eof:
                protocol.eof_received()
        except BaseException:
            transport.abort()  # as a loop does when a protocol raises
            raise
        finally:
            if self._lost:
                protocol.connection_lost(*self._lost)

    # What the loop tells

    def data_received(self, data: bytes) -> None:
        self._data += data

    def eof_received(self) -> None:
        self._eof = True

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._owes_resume = self._owes_resume or not self._paused
        self._paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stepped_aside:  # the loops schedule this call, and it may be on its way already
            self._protocol.connection_lost(exc)
        self._lost = (exc,)
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(exc or ConnectionResetError())


def _feed(protocol_in_place: Callable[[], asyncio.BaseProtocol], data: bytes) -> None:
    """Hand octets to the loop's TLS protocol, as its transport would."""
    tls = cast("asyncio.BufferedProtocol", protocol_in_place())
    while data:
        buffer = memoryview(tls.get_buffer(len(data)))
        taken = min(len(buffer), len(data))
        buffer[:taken] = data[:taken]
        tls.buffer_updated(taken)
        data = data[taken:]
