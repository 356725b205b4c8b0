"""What the server asks of the process that speaks ACME, and what it gets back: one JSON object each way.

    task = AcmeTask("order", options, ("mail.example.org",), folder)
    answer = await perform(task, sockets)       # in the server, valija/tls/acme_process
    answer = run(task)                          # in that process, valija/tls/acme_order

The process lives for one task. What the ACME library needs in memory is gone with it.
"""

from typing import Literal

import msgspec

from valija.tls.acme_schedule import FailureKind
from valija.tls.options import TlsOptions


class ChallengeUnready(Exception):
    """A proof can't be published; the message says why and what to do."""


class AcmeTask(msgspec.Struct, frozen=True):
    """`order` a certificate for `names`, or `ask` when the current one should be renewed.

    `folder` is the authority's own. `sockets` are descriptors for the challenge, bound and not listening. `current_pem`
    is the chain that is to be replaced, `""` where there is none; `key_pem` is the key to order for, `""` for a new
    one.
    """

    what: Literal["order", "ask"]
    options: TlsOptions
    names: tuple[str, ...]
    folder: str
    sockets: tuple[int, ...] = ()
    current_pem: str = ""
    key_pem: str = ""


class AcmeFailure(msgspec.Struct, frozen=True):
    """Why it did not work, in words. `retry_after`: for how many seconds the authority wants to be left alone, or 0."""

    kind: FailureKind
    reason: str
    retry_after: float = 0.0


class AcmeAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A new pair, or a window for renewal (seconds since the epoch; None where the authority has none), or a failure.

    `notes` are for the log: what did not keep it from working.
    """

    chain_pem: str = ""
    key_pem: str = ""
    window: tuple[float, float] | None = None
    retry_after: float = 0.0
    failure: AcmeFailure | None = None
    notes: tuple[str, ...] = ()
