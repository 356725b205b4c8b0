"""DMARC policy records (RFC 9989 section 4.7), as the TXT records at `_dmarc.DOMAIN` have them.

    record = parse_record("v=DMARC1; p=reject; sp=quarantine; adkim=s")
    record.policy_for_subdomains(exists=True)       # "quarantine"

What is wrong in a record falls back to its default, and unknown tags are passed over, as section 4.8 wants it. Only a
record that has no usable policy and asks for no reports either says nothing: `applies` is false, though its `psd` still
counts for where a domain ends (section 4.10.1).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal, cast, get_args

import msgspec

from valija.content.tag_list import TagFault, parse_tags

Policy = Literal["none", "quarantine", "reject"]
Psd = Literal["y", "n", "u"]

_READ_OFTEN: Final = 256  # records of domains that mail comes from all day
_MILDER: Final[dict[Policy, Policy]] = {"reject": "quarantine", "quarantine": "none", "none": "none"}


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record. `psd`: the domain is a public suffix, surely none, or that is not told. `is_test` is t=y.

    `sub_policy` and `missing_policy` are sp= and np=, None where they are not given.
    """

    policy: Policy = "none"
    sub_policy: Policy | None = None
    missing_policy: Policy | None = None
    strict_dkim: bool = False
    strict_spf: bool = False
    psd: Psd = "u"
    is_test: bool = False
    applies: bool = True

    def policy_for_subdomains(self, *, exists: bool) -> Policy:
        """Return the policy for a name below the record's domain, which exists in the DNS or not."""
        below = self.sub_policy or self.policy
        return below if exists else self.missing_policy or below

    def applied(self, policy: Policy) -> Policy:
        """Return what is to be done for a policy of this record: one step less where its owner is testing."""
        return _MILDER[policy] if self.is_test else policy


def find_record(texts: Sequence[str]) -> Record | None:
    """Return the record among the TXT records of a name; several are none (section 4.10)."""
    records = [record for text in texts if (record := parse_record(text)) is not None]
    return records[0] if len(records) == 1 else None


@lru_cache(maxsize=_READ_OFTEN)
def parse_record(text: str) -> Record | None:
    """Return what a TXT record says, None for one that is no DMARC record."""
    if text.partition(";")[0].replace(" ", "").replace("\t", "") != "v=DMARC1":
        return None
    tags = _tags(text)
    policies = {name: _policy(tags[name]) for name in ("p", "sp", "np") if name in tags}
    is_sound = None not in policies.values()
    return Record(
        policy=(policies.get("p") or "none") if is_sound else "none",
        sub_policy=policies.get("sp") if is_sound else None,
        missing_policy=policies.get("np") if is_sound else None,
        strict_dkim=tags.get("adkim", "").lower() == "s",
        strict_spf=tags.get("aspf", "").lower() == "s",
        psd=_psd(tags.get("psd", "u").lower()),
        is_test=tags.get("t", "").lower() == "y",
        applies=is_sound or _asks_for_reports(tags.get("rua", "")),
    )


def _tags(text: str) -> dict[str, str]:
    """Return the tags that can be read, the first of each name; others are passed over."""
    tags: dict[str, str] = {}
    for part in text.split(";"):
        try:
            read = parse_tags(part.encode("utf-8", "surrogateescape"))
        except TagFault:
            continue
        for name, value in read.items():
            tags.setdefault(name.lower(), value)
    return tags


def _policy(value: str) -> Policy | None:
    word = value.lower()
    return cast("Policy", word) if word in get_args(Policy) else None


def _psd(value: str) -> Psd:
    return cast("Psd", value) if value in get_args(Psd) else "u"


def _asks_for_reports(written: str) -> bool:
    return any(each.strip().lower().startswith("mailto:") and "@" in each for each in written.split(","))
