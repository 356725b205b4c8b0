"""What the scanning by rspamd may be told. Durations in seconds, sizes in octets."""

from typing import Literal

import msgspec

UNIX = "unix:"


class RspamdOptions(msgspec.Struct, frozen=True):
    """Settings of `[rspamd]`.

    `url` is where a worker of rspamd listens, `http://127.0.0.1:11333` or `unix:/run/rspamd/worker.sock`; `""` is off.
    `on_failure` says what becomes of a message that rspamd says nothing about. `on_reject` and `on_greylist` say what
    two of its actions come to here. `users`: what logged-in users and `mynetworks` send is scanned too.
    """

    url: str = ""
    password_file: str = ""
    timeout: float = 15.0  # rspamd gives itself 8 s for a message whose look-ups are slow
    max_size: int = 49 << 20  # rspamd takes 50 MiB, with the fields that are added on the way
    users: bool = False
    on_failure: Literal["tempfail", "accept"] = "tempfail"
    on_reject: Literal["reject", "hold", "junk"] = "reject"
    on_greylist: Literal["accept", "tempfail"] = "accept"
