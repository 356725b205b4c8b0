"""Settings as Thunderbird wants them, and others that learnt from it (K-9, Evolution, KMail): config-v1.1.xml.

    thunderbird_settings(mail, "example.org")          # octets of an XML document

The format is Mozilla's: an account needs one incoming and one outgoing server, and the first of each is taken.
"""

from html import escape
from typing import Final

from valija.https.account import MailSettings, Server

_LOGINS: Final = {"address": "%EMAILADDRESS%", "local-part": "%EMAILLOCALPART%"}


def thunderbird_settings(mail: MailSettings, domain: str) -> bytes:
    """Return the document for a domain."""
    name = escape(mail.name or domain)
    login = _LOGINS[mail.login]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<clientConfig version="1.1">',
        f'  <emailProvider id="{escape(domain)}">',
        f"    <domain>{escape(domain)}</domain>",
        f"    <displayName>{name}</displayName>",
        f"    <displayShortName>{name}</displayShortName>",
        *_server("incomingServer", "imap", mail.incoming, login),
        *(line for each in mail.outgoing for line in _server("outgoingServer", "smtp", each, login)),
        "  </emailProvider>",
        "</clientConfig>",
    ]
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def _server(element: str, kind: str, server: Server, login: str) -> list[str]:
    return [
        f'    <{element} type="{kind}">',
        f"      <hostname>{escape(server.host)}</hostname>",
        f"      <port>{server.port}</port>",
        f"      <socketType>{'SSL' if server.is_wrapped else 'STARTTLS'}</socketType>",
        "      <authentication>password-cleartext</authentication>",  # inside TLS
        f"      <username>{login}</username>",
        f"    </{element}>",
    ]
