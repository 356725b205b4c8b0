"""Settings as Outlook wants them: the answer to an autodiscover request, in Microsoft's "plain old XML" (MS-OXDSCLI).

outlook_settings(Account("alice@example.org", mail))       # octets of an XML document
"""

from html import escape
from typing import Final

from valija.https.account import Account, Server

_OUTER: Final = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
_INNER: Final = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"


def outlook_settings(account: Account) -> bytes:
    """Return the document for an account. Outlook takes the first server of each kind."""
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f'<Autodiscover xmlns="{_OUTER}">',
        f'  <Response xmlns="{_INNER}">',
        f"    <User><DisplayName>{escape(account.address)}</DisplayName></User>",
        "    <Account>",
        "      <AccountType>email</AccountType>",
        "      <Action>settings</Action>",
        *_protocol("IMAP", account.mail.incoming, account.login),
        *_protocol("SMTP", account.mail.outgoing[0], account.login),
        "    </Account>",
        "  </Response>",
        "</Autodiscover>",
    ]
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def _protocol(kind: str, server: Server, login: str) -> list[str]:
    return [
        "      <Protocol>",
        f"        <Type>{kind}</Type>",
        f"        <Server>{escape(server.host)}</Server>",
        f"        <Port>{server.port}</Port>",
        f"        <LoginName>{escape(login)}</LoginName>",
        "        <DomainRequired>off</DomainRequired>",
        "        <SPA>off</SPA>",
        "        <SSL>on</SSL>",
        f"        <Encryption>{'SSL' if server.is_wrapped else 'TLS'}</Encryption>",
        "        <AuthRequired>on</AuthRequired>",
        "      </Protocol>",
    ]
