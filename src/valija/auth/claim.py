"""Who a client claims to be by a mechanism that keeps the password to itself.

    claimed_name("SCRAM-SHA-256", b"n,,n=alice@example.org,r=fyko+d2l")      # "alice@example.org"
    claimed_name("XOAUTH2", b"user=alice@example.org\\x01auth=Bearer ...")    # the same

In SCRAM, OAUTHBEARER and XOAUTH2 the name stands in the client's first response (RFC 5802 section 7, RFC 7628
section 3.1). Where a mechanism names nobody, or the response follows no grammar, the name is `""`: to judge that is the
back end's.
"""

import re
from typing import Final

_GS2 = re.compile(rb"(?:n|y|p=[^,]*),(?:a=([^,]*))?,(?:n=([^,]*))?")
_XOAUTH2 = re.compile(rb"user=([^\x01]*)\x01")
_LONGEST: Final = 1024  # octets


def claimed_name(mechanism: str, response: bytes) -> str:
    """Return the name in a client's first response, `""` where there is none. `mechanism` in upper case."""
    found = (_XOAUTH2 if mechanism == "XOAUTH2" else _GS2).match(response)
    if found is None:
        return ""
    name = next((group for group in reversed(found.groups()) if group), b"")
    if len(name) > _LONGEST:
        return ""
    return name.replace(b"=2C", b",").replace(b"=3D", b"=").decode(errors="replace")
