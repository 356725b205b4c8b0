"""The certificates that a peer showed in the handshake, whether anybody vouches for them or not.

    peer_chain(transport.get_extra_info("ssl_object"))      # (leaf, intermediate, ...), each in DER; () for none

Python has a public way to them from 3.13 on. Before that the object below it, which asyncio's and uvloop's TLS both
have, knows them under the same name, as values of `_ssl` that give their DER when asked.
"""

import ssl
from typing import Any, Final

_DER: Final = 2  # _ssl.ENCODING_DER, which has no name in `ssl` before 3.13
MAX_CHAIN: Final = 10  # certificates that are looked at; OpenSSL itself takes no much longer chain


def peer_chain(connection: ssl.SSLObject) -> tuple[bytes, ...]:
    """Return the chain as the peer sent it, its own certificate first."""
    below: Any = connection if hasattr(connection, "get_unverified_chain") else connection._sslobj  # type: ignore[attr-defined]  # private: see above
    chain = below.get_unverified_chain() or ()
    return tuple(each if isinstance(each, bytes) else each.public_bytes(_DER) for each in chain[:MAX_CHAIN])
