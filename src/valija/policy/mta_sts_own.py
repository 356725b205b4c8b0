"""The MTA-STS policy of our own domains: what is served, and the record that tells of it (RFC 8461 section 3).

    text = policy_text("enforce", ["mail.example.org"], 604800)
    policy_record(text)                # "v=STSv1; id=5b8d..."

The id is made of the policy's text: another policy has another one, and nobody has to think of it.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from valija.policy.mta_sts import Mode

_ID_LENGTH: Final = 20  # characters; 32 are allowed


def policy_text(mode: Mode, hosts: Iterable[str], max_age: int) -> str:
    """Return the policy as it is served: `hosts` take the domain's mail, `max_age` is in seconds."""
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {host}" for host in hosts), f"max_age: {max_age}"]
    return "".join(f"{line}\r\n" for line in lines)


def policy_record(text: str) -> str:
    """Return the TXT record of `_mta-sts.DOMAIN` that goes with a policy."""
    return f"v=STSv1; id={hashlib.sha256(text.encode('ascii')).hexdigest()[:_ID_LENGTH]}"
