"""What a client says in OAUTHBEARER (RFC 7628) and XOAUTH2 (the form that came before it), and what a refusal says.

    BEARERS["OAUTHBEARER"].parse(b"n,a=alice@example.org,\\x01host=mail.example.org\\x01auth=Bearer vF9dft4q\\x01\\x01")
    BEARERS["XOAUTH2"].parse(b"user=alice@example.org\\x01auth=Bearer vF9dft4q\\x01\\x01")
    # Bearer("alice@example.org", "vF9dft4q") both
    BEARERS["XOAUTH2"].refusal("https://id.example.org")       # b'{"status":"401","schemes":"bearer"}'

A refusal is a challenge in JSON, which the client answers with an octet of no meaning before the login fails.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from valija.smtp.sasl import Malformed, parse_name

_GS2: Final = re.compile(rb"[ny],(?:a=((?:[^\x00,=]|=2C|=3D)+))?,")
_PAIR: Final = re.compile(rb"([A-Za-z]+)=([\x20-\x7e\t\r\n]*)")
_AUTHORIZATION: Final = re.compile(rb"bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)


class Bearer(msgspec.Struct, frozen=True, gc=False):
    """A token and whom its bearer wants to be (`""`: whom the token names). `token` is `""` where there is none."""

    authzid: str
    token: str

    def __repr__(self) -> str:
        return f"Bearer({self.authzid!r}, ...)"


class BearerMechanism(msgspec.Struct, frozen=True):
    """One of the two mechanisms."""

    parse: Callable[[bytes], Bearer | Malformed]
    refusal: Callable[[str], bytes]


def _parse_oauthbearer(response: bytes) -> Bearer | Malformed:
    """Take apart the client's response (RFC 7628 section 3.1)."""
    header, _, rest = response.partition(b"\x01")
    found = _GS2.fullmatch(header)
    if found is None or not rest.endswith(b"\x01"):
        return Malformed()
    name = (found[1] or b"").replace(b"=2C", b",").replace(b"=3D", b"=")
    return _bearer(name, rest.removesuffix(b"\x01"))


def _parse_xoauth2(response: bytes) -> Bearer | Malformed:
    user, _, rest = response.partition(b"\x01")
    if not user.startswith(b"user=") or not rest.endswith(b"\x01"):
        return Malformed()
    return _bearer(user.removeprefix(b"user="), rest.removesuffix(b"\x01"))


def _bearer(name: bytes, pairs: bytes) -> Bearer | Malformed:
    """Return the bearer of that name; `pairs` are `key=value`, a \\x01 behind each."""
    *written, behind = pairs.split(b"\x01")
    found = [match for pair in written if (match := _PAIR.fullmatch(pair))]
    values = [pair[2] for pair in found if pair[1].lower() == b"auth"]
    authzid = parse_name(name)
    if behind or len(found) != len(written) or authzid is None or len(values) != 1:
        return Malformed()
    token = _AUTHORIZATION.fullmatch(values[0])
    return Bearer(authzid, token[1].decode() if token else "")


def _refuse_oauthbearer(issuer: str) -> bytes:
    """RFC 7628 section 3.2.2."""
    where = {"openid-configuration": f"{issuer.rstrip('/')}/.well-known/openid-configuration"} if issuer else {}
    return msgspec.json.encode({"status": "invalid_token", **where})


def _refuse_xoauth2(_: str) -> bytes:
    return msgspec.json.encode({"status": "401", "schemes": "bearer"})


BEARERS: Final = {
    "OAUTHBEARER": BearerMechanism(_parse_oauthbearer, _refuse_oauthbearer),
    "XOAUTH2": BearerMechanism(_parse_xoauth2, _refuse_xoauth2),
}
