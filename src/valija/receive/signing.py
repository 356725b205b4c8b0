"""The keys of domains put to use on a message that is being taken: DKIM for what is ours, ARC for what is sent on.

    header = signatures(site, origin, incoming, header) + header
    header = seals(site, origin, incoming, header, recipients) + header

Both need the hash of the body, which was asked for or not when the content began: see session.
"""

from collections.abc import Sequence

from valija.content.arc_seal import key_to_seal_with, seal
from valija.content.dkim import sign
from valija.content.submission import author_addresses
from valija.mail.address import domain_of
from valija.mail.envelope import Recipient
from valija.mail.origin import Origin
from valija.receive.incoming import IncomingContent
from valija.receive.site import Site


def signatures(site: Site, origin: Origin, incoming: IncomingContent, header: bytes) -> bytes:
    """Return the DKIM signatures for the domain in From, where it has keys.

    A user's From has been found to be the user's: its domain need not receive mail here. Other clients, whom only
    their network vouches for, have hosted domains signed alone; outsiders none.
    """
    if not incoming.hashes_body or not site.signs_for(origin.login, origin.client_address):
        return b""
    authors = author_addresses(header)
    domain = domain_of(authors[0]) if isinstance(authors, list) and authors else ""
    may_sign = bool(origin.login) or domain in site.relay.domains
    keys = site.signer.for_domain(domain) if domain and may_sign else ()
    return sign(header, incoming.body_hash(), keys, origin.received_at) if keys else b""


def seals(
    site: Site, origin: Origin, incoming: IncomingContent, header: bytes, recipients: Sequence[Recipient]
) -> bytes:
    """Return the ARC set of what an alias sends on, by the domain of such an alias that has a key (RFC 8617).

    Other recipients of the message get it sealed as well, which tells them nothing but that somebody was forwarded to.
    """
    if not (site.seals and incoming.hashes_body):
        return b""
    hosted = site.relay.domains
    sent_on = {domain_of(each.given) for each in recipients if each.given and domain_of(each.address) not in hosted}
    keys = [key for domain in sorted(sent_on & hosted) for key in site.signer.for_domain(domain)]
    key = key_to_seal_with(keys)
    return seal(header, incoming.body_hash(), key, origin.received_at, site.hostname) if key else b""
