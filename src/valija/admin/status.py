"""What the running server says about itself: the one source for the commands and the page. Times in epoch seconds."""

import msgspec

from valija.admin.certificates import CertificateStatus


class WorkerStatus(msgspec.Struct, frozen=True):
    """One worker process.

    `sessions` counts open ones; since the worker's start, `accepted` messages queued and `throttled` logins refused.
    `found` messages were in its queue at its start, `unfinished` of them were being attempted when the process before
    it died, and of `incomplete` the file is gone.
    """

    number: int
    pid: int
    since: float
    restarts: int = 0
    sessions: int = 0
    accepted: int = 0
    delivered: int = 0
    deferred: int = 0
    failed: int = 0
    throttled: int = 0
    found: int = 0
    unfinished: int = 0
    incomplete: int = 0


class Status(msgspec.Struct, frozen=True):
    """The whole server. `listening` names each role's endpoints; `lost_log_lines` could not be written.

    `certificates` begin with the default one.
    """

    version: str
    pid: int
    since: float
    hostname: str
    listening: dict[str, list[str]]
    workers: list[WorkerStatus]
    lost_log_lines: int = 0
    certificates: list[CertificateStatus] = []
