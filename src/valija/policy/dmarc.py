"""DMARC: is the domain in From the one that SPF or DKIM vouches for, and what if not (RFC 9989)?

    names = targets("a.mail.example.com")                     # the domains whose records the walk asks for
    walk = Walk.of("a.mail.example.com", {name: texts for name in names})
    walk.organizational_domain                                # "example.com"
    found = discover(walk)                                    # the record that applies, or None
    is_aligned(Walk.of("example.com", ...), walk)            # True

The look-ups are the caller's: it hands in what the TXT records at `_dmarc.NAME` are, None where the DNS gave no answer.
Such a gap counts only where the walk comes by: then nothing can be said (WalkFailed).

Known weakness: a domain whose owner and subdomains' owners are different people, and that publishes neither psd=y nor
psd=n, is one organisation here, as the standard has it.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Self

import msgspec

from valija.policy.dmarc_record import Policy, Record, find_record

MOST_LABELS: Final = 8  # RFC 9989 section 4.10: so that a long name makes no more than eight look-ups


class WalkFailed(Exception):
    """The DNS gave no answer that the walk needs."""


def targets(domain: str) -> tuple[str, ...]:
    """Return the domains that a tree walk asks about, the longest first, eight at most (RFC 9989 section 4.10)."""
    labels = domain.split(".")
    rest = labels[1:] if len(labels) < MOST_LABELS else labels[1 - MOST_LABELS :]
    return (domain, *(".".join(rest[start:]) for start in range(len(rest))))


class Walk(msgspec.Struct, frozen=True):
    """A tree walk from `start` that has ended: the domains that have records, the longest first."""

    start: str
    records: tuple[tuple[str, Record], ...] = ()

    @classmethod
    def of(cls, start: str, texts: Mapping[str, Sequence[str] | None]) -> Self:
        """Return the walk over what the DNS has for each of `targets(start)`. Raises WalkFailed."""
        records: list[tuple[str, Record]] = []
        for domain in targets(start):
            found = texts[domain]
            if found is None:
                raise WalkFailed(domain)
            record = find_record(found)
            if record is not None:
                records.append((domain, record))
                if record.psd != "u":
                    break
        return cls(start, tuple(records))

    @property
    def organizational_domain(self) -> str:
        """The domain that the one at the start belongs to (section 4.10.2)."""
        for domain, record in self.records:
            if record.psd == "n":
                return domain
            if record.psd == "y" and domain != self.start:
                return _one_label_more(self.start, domain)
        return self.records[-1][0] if self.records else self.start


def _one_label_more(name: str, suffix: str) -> str:
    above = name.removesuffix(f".{suffix}").rpartition(".")[2]
    return f"{above}.{suffix}"


class Found(msgspec.Struct, frozen=True):
    """The record that applies to a domain, and the domain that publishes it."""

    domain: str
    record: Record


def discover(walk: Walk) -> Found | None:
    """Return the record that applies to mail of the walk's domain (section 4.10.1), None where none does.

    It is the domain's own, or that of its organizational domain, or that of the public suffix above it.
    """
    records = dict(walk.records)
    suffix = next((domain for domain, record in walk.records if record.psd == "y"), "")
    for domain in (walk.start, walk.organizational_domain, suffix):
        if domain in records:
            record = records[domain]
            return Found(domain, record) if record.applies else None
    return None


def needs_existence(found: Found, author: str) -> bool:
    """Whether it matters if the author's domain exists in the DNS."""
    record = found.record
    known = record.policy_for_subdomains(exists=True) == record.policy_for_subdomains(exists=False)
    return found.domain != author and not known


def policy_for(found: Found, author: str, *, exists: bool) -> Policy:
    """Return what the owner of the record wants done with unproven mail of the author's domain."""
    record = found.record
    named = record.policy if found.domain == author else record.policy_for_subdomains(exists=exists)
    return record.applied(named)


def may_be_aligned(identifier: str, author: Walk, *, strict: bool) -> bool:
    """Whether an authenticated domain may turn out to be the author's: if not, it needs no walk of its own."""
    if identifier == author.start or strict:
        return identifier == author.start
    organization = author.organizational_domain
    return identifier == organization or identifier.endswith(f".{organization}")


def is_aligned(identifier: Walk, author: Walk) -> bool:
    """Whether two domains belong to one organization (relaxed alignment, section 4.10.2)."""
    return identifier.start == author.start or identifier.organizational_domain == author.organizational_domain
