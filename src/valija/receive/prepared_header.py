"""The header of a content as it may go on: looked at, what is forged taken out, what a user's program left out put in.

    header = prepare_header(site, envelope, origin, incoming)      # or the Reply that refuses it

Only mail of users is mended, and only theirs has to be in their name (RFC 6409 section 8).
"""

from valija.content.authentication_results import without_claims
from valija.content.header import without
from valija.content.local_addresses import complete_header
from valija.content.submission import CLAIMS, author_addresses, check_once, fix_up, sender_claims
from valija.content.trace import check_hops
from valija.mail.envelope import Envelope
from valija.mail.origin import Origin
from valija.mail.reply import Reply
from valija.policy.identity import check_from
from valija.receive.incoming import IncomingContent
from valija.receive.site import Site


def prepare_header(site: Site, envelope: Envelope, origin: Origin, incoming: IncomingContent) -> bytes | Reply:
    """Return the header as it may go on, or why the content can't be taken."""
    header = incoming.header
    refusal = incoming.refusal or check_hops(header)
    if refusal:
        return refusal
    header = _without_forged_results(site, origin, header)
    return _submitted_header(site, envelope, origin, header) if origin.login else header


def _without_forged_results(site: Site, origin: Origin, header: bytes) -> bytes:
    """Return a header in which nobody but us and our own network speaks in our name (RFC 8601 section 5)."""
    cleaned = without_claims(header, site.hostname)
    if cleaned is header or (site.role == "smtpd" and site.relay.trusts(origin.client_address)):
        return header
    return cleaned


def _submitted_header(site: Site, envelope: Envelope, origin: Origin, header: bytes) -> bytes | Reply:
    """Return a user's header, its identity checked and its omissions mended (RFC 6409 section 8)."""
    login = origin.login
    user_address = _address_of(login, "" if site.local_names is not None else envelope.reverse_path, site)
    if site.local_names is not None:
        owns = site.directory.owns
        header = complete_header(header, site.local_names, lambda named: named if owns(login, named) else user_address)
    refusal = check_once(header) or _check_author(site, login, header)
    if refusal:
        return refusal
    claimed = _without_foreign_sender(site, login, header)
    if isinstance(claimed, Reply):
        return claimed
    header = claimed
    return fix_up(
        header,
        user_address=user_address,
        hostname=site.hostname,
        now=origin.received_at,
        unique=site.unique(),
    )


def _check_author(site: Site, login: str, header: bytes) -> Reply | None:
    authors = author_addresses(header)
    return authors if isinstance(authors, Reply) else _check_theirs(site, login, authors, "From")


def _without_foreign_sender(site: Site, login: str, header: bytes) -> bytes | Reply:
    """Return a header in which nobody else is said to have sent or resent it (RFC 6409 section 8.1)."""
    for name, addresses in sender_claims(header).items():
        refusal: Reply | None = addresses if isinstance(addresses, Reply) else None
        if not isinstance(addresses, Reply):
            refusal = _check_theirs(site, login, addresses, CLAIMS[name])
        if refusal is None:
            continue
        if name != b"sender":
            return refusal
        header = without(header, name)
    return header


def _check_theirs(site: Site, login: str, addresses: list[str], field: str) -> Reply | None:
    hosted, owns = site.relay.domains, site.directory.owns
    return check_from(login, addresses, hosted=hosted, owns=owns, delimiter=site.delimiter, field=field)


def _address_of(login: str, reverse_path: str, site: Site) -> str:
    """Return the address to name a user by whose message does not."""
    if "@" in login:
        return login
    return reverse_path or f"{login}@{site.relay.postmaster_domain}"
