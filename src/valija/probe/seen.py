"""What a port shows at first sight: whether it is there, its banner, its name, its extensions in clear and inside TLS.

seen = look(target, "submission")       # Seen, or the reason in words
with opened(target, seen) as wire:      # greeted, inside TLS where the port has it
    ...
"""

import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from valija.mail.reply import Reply
from valija.probe.target import Role, Target
from valija.probe.wire import Gone, NotOpened, Wire, tls_words
from valija.smtp.client_capabilities import Capabilities


class Seen(msgspec.Struct, frozen=True):
    """One port. `clear` is what it announces before TLS, None where TLS comes first; `inside` what it announces then.

    `inside` is None where TLS did not come about: `fault` says why. `name` is what the server calls itself;
    `certificate` is in DER.
    """

    role: Role
    port: int
    banner: str
    name: str
    clear: Capabilities | None
    inside: Capabilities | None
    fault: str = ""
    tls: tuple[str, str] = ("", "")
    certificate: bytes = b""

    @property
    def has_tls(self) -> bool:
        """Whether TLS works here."""
        return self.inside is not None


def any_server() -> ssl.SSLContext:
    """Return a context for handshakes in which nothing is verified: the certificate is judged apart."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # an old server is to be looked at all the same
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def look(target: Target, role: Role) -> Seen:
    """Look at a port. Raises Gone where there is nothing, or no mail server."""
    port = target.ports[role]
    return _look_at_tls_port(target, role, port) if role == "submissions" else _look_at_clear_port(target, role, port)


def _look_at_clear_port(target: Target, role: Role, port: int) -> Seen:
    with Wire(target, port) as wire:
        banner = wire.reply()
        if not banner.is_positive:
            raise Gone(f"the server says {banner}")
        hello = wire.hello()
        seen = Seen(role, port, str(banner), _name(hello), wire.capabilities, None)
        if not wire.capabilities.starttls:
            return msgspec.structs.replace(seen, fault="STARTTLS is not offered")
        try:
            wire.ask_for_tls(any_server())
        except (Gone, ssl.SSLError) as fault:
            return msgspec.structs.replace(seen, fault=f"STARTTLS fails: {_words(fault)}")
        return msgspec.structs.replace(seen, inside=wire.capabilities, tls=wire.tls, certificate=wire.certificate)


def _look_at_tls_port(target: Target, role: Role, port: int) -> Seen:
    with Wire(target, port) as wire:
        try:
            wire.start_tls(any_server())
        except (Gone, ssl.SSLError) as fault:
            return Seen(role, port, "", "", None, None, fault=_words(fault))
        banner = wire.reply()
        if not banner.is_positive:
            raise Gone(f"the server says {banner}")
        hello = wire.hello()
        return Seen(role, port, str(banner), _name(hello), None, wire.capabilities, "", wire.tls, wire.certificate)


@contextmanager
def opened(target: Target, seen: Seen, *, in_clear: bool = False) -> Iterator[Wire]:
    """Yield a connection that has said hello: inside TLS where the port has it, unless `in_clear`. Raises NotOpened."""
    with Wire(target, seen.port) as wire:
        try:
            if seen.role == "submissions":
                wire.start_tls(any_server())
            wire.greet()
            if seen.role != "submissions" and seen.has_tls and not in_clear:
                wire.ask_for_tls(any_server())
        except (Gone, ssl.SSLError) as fault:
            raise NotOpened(_words(fault)) from None
        yield wire


def _name(hello: Reply) -> str:
    """Return the name that a server gives itself in its reply to EHLO; `""` for an address or nothing of the kind."""
    word = hello.text.split("\n")[0].split(" ")[0].lower()
    return word if "." in word and not word.startswith("[") and not word.replace(".", "").isdigit() else ""


def _words(fault: Exception) -> str:
    return tls_words(fault) if isinstance(fault, ssl.SSLError) else str(fault)
