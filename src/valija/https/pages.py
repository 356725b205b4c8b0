"""What is answered to whom: a pure function of what is served and of one request.

    site = Site("mail.example.org", ("example.org",), policy=policy_text(...), mail=MailSettings(...))
    page = answer(site, Request("GET", "mta-sts.example.org", "/.well-known/mta-sts.txt"))
    page.status, page.media_type, page.body

| host | path | what |
|---|---|---|
| mta-sts.DOMAIN | /.well-known/mta-sts.txt | the policy (RFC 8461) |
| autoconfig.DOMAIN, DOMAIN, the server | /mail/config-v1.1.xml, also below /.well-known/autoconfig | for Thunderbird |
| autoconfig.DOMAIN, autodiscover.DOMAIN, DOMAIN, the server | /autodiscover/autodiscover.xml, by POST | for Outlook |
| the same | /apple.mobileconfig?email=ADDRESS | for Apple's programs |

There are no files: a path is looked up in a table, and all else is 404, as is each host that is not ours. What a client
sends is repeated only where it is an address of a hosted domain, and escaped.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from valija.https.account import Account
from valija.https.apple import apple_profile
from valija.https.outlook import outlook_settings
from valija.https.site import Site, names_of_domain
from valija.https.thunderbird import thunderbird_settings
from valija.mail.address import AddressError, domain_of, normalise_domain
from valija.smtp.grammar import PathFault, path

LARGEST_REQUEST: Final = 8192
"""Octets of a body that are read."""

POLICY_PATH: Final = "/.well-known/mta-sts.txt"
_LONGEST_HOST: Final = 270  # characters, with a port
_WORDS: Final = {400: "bad request", 404: "nothing here", 405: "not by this method"}
_ADDRESS_ASKED: Final = re.compile(r"<EMailAddress>\s*([^<>]{3,256}?)\s*</EMailAddress>")


class Request(msgspec.Struct, frozen=True):
    """One request; `host` as the client wrote it, `query` the first value of each name."""

    method: str
    host: str
    path: str
    query: Mapping[str, str] = {}
    body: bytes = b""


class Page(msgspec.Struct, frozen=True):
    """An answer. `allow` are the methods that would do, where the one that came does not."""

    status: int
    media_type: str
    body: bytes
    allow: str = ""


class _Asked(msgspec.Struct, frozen=True):
    """A request to a host of ours: which label stands before the domain (`""` none), and the domain.

    Of a request to the server's own name the domain is `""`, unless it is a hosted one.
    """

    site: Site
    request: Request
    label: str
    domain: str


def answer(site: Site, request: Request) -> Page:
    """Return the answer to a request. Never raises, whatever the request holds."""
    asked = _placed(site, request)
    known = request.path.lower() if request.path.lower() == OUTLOOK_PATH else request.path
    if asked is None or known not in _PAGES:
        return _error(404)
    methods, page = _PAGES[known]
    if request.method not in methods:
        return _error(405, ", ".join(methods))
    return page(asked)


def _placed(site: Site, request: Request) -> _Asked | None:
    """Return whom a request means, None for a host that is none of ours."""
    host = _host(request.host)
    if host in site.domains:
        return _Asked(site, request, "", host)
    label, _, domain = host.partition(".")
    if domain in site.domains and host in names_of_domain(domain):
        return _Asked(site, request, label, domain)
    return _Asked(site, request, "", "") if host == site.hostname else None


def _host(written: str) -> str:
    """Return the host of a Host field, without its port; `""` for what is none."""
    if not written.isascii() or len(written) > _LONGEST_HOST:
        return ""
    try:
        return normalise_domain(written.partition(":")[0])
    except AddressError:
        return ""


def _error(status: int, allow: str = "") -> Page:
    return Page(status, "text/plain", f"{_WORDS[status]}\n".encode(), allow)


# The pages


def _policy(asked: _Asked) -> Page:
    if asked.label != "mta-sts":
        return _error(404)
    return Page(200, "text/plain", asked.site.policy.encode("ascii"))


def _thunderbird(asked: _Asked) -> Page:
    mail = asked.site.mail
    # Thunderbird also asks at the domain of the MX host, and says whose settings it wants.
    domain = domain_of(_hosted_address(asked.site, asked.request.query.get("emailaddress", ""))) or asked.domain
    if mail is None or not domain or asked.label not in ("", "autoconfig"):
        return _error(404)
    return Page(200, "text/xml", thunderbird_settings(mail, domain))


def _outlook(asked: _Asked) -> Page:
    body = asked.request.body.decode("utf-8", "replace")
    found = _ADDRESS_ASKED.search(body)
    account = _account(asked, found[1] if found else "")
    if isinstance(account, Page):
        return account
    return Page(200, "text/xml", outlook_settings(account))


def _apple(asked: _Asked) -> Page:
    account = _account(asked, asked.request.query.get("email", ""))
    if isinstance(account, Page):
        return account
    return Page(200, "application/x-apple-aspen-config", apple_profile(account))


def _account(asked: _Asked, address: str) -> Account | Page:
    """Return whose settings are asked for, or what is wrong with the question."""
    if asked.site.mail is None or asked.label == "mta-sts":
        return _error(404)
    if not address:
        return _error(400)
    hosted = _hosted_address(asked.site, address)
    return Account(hosted, asked.site.mail) if hosted else _error(404)


def _hosted_address(site: Site, written: str) -> str:
    """Return an address of a hosted domain as it is compared; `""` for all else."""
    if not written.isascii() or not written.isprintable():
        return ""
    try:
        found, rest = path(f"<{written}>")
    except PathFault:
        return ""
    return found if not rest and domain_of(found) in site.domains else ""


OUTLOOK_PATH: Final = "/autodiscover/autodiscover.xml"

_READ: Final = ("GET", "HEAD")
_PAGES: Final[dict[str, tuple[tuple[str, ...], Callable[[_Asked], Page]]]] = {
    POLICY_PATH: (_READ, _policy),
    "/mail/config-v1.1.xml": (_READ, _thunderbird),
    "/.well-known/autoconfig/mail/config-v1.1.xml": (_READ, _thunderbird),
    OUTLOOK_PATH: (("POST",), _outlook),
    "/apple.mobileconfig": (_READ, _apple),
}
