"""What the checks of mail from outside may be told. Durations in seconds."""

from typing import Literal

import msgspec

Say = Literal["off", "annotate", "reject"]
"""Not looked at; looked at and told; what fails is refused."""


class CheckOptions(msgspec.Struct, frozen=True):
    """Settings of `[checks]`.

    `spf`, `iprev` and `helo` refuse only where they are told to. `dmarc`: `honour` does what the domain in From asks
    for. `trusted_arc_sealers` are domains whose word on a message that they passed on is taken (RFC 8617). `dnsbl` are
    block lists, and `dnsbl_action` what becomes of mail from an address that one of them has. `timeout` bounds the wait
    for the DNS at each step: what has not come by then is `temperror`.
    """

    spf: Say = "annotate"
    dkim: bool = True
    arc: bool = True
    dmarc: Literal["off", "annotate", "honour"] = "honour"
    trusted_arc_sealers: tuple[str, ...] = ()
    iprev: Say = "annotate"
    helo: Say = "annotate"
    dnsbl: tuple[str, ...] = ()
    dnsbl_action: Literal["reject", "junk"] = "reject"
    timeout: float = 10.0

    @property
    def authenticates(self) -> bool:
        """Whether any method is on that Authentication-Results tells of."""
        return self.dkim or self.arc or "off" not in (self.spf, self.iprev) or self.dmarc != "off"
