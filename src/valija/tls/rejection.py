"""Why a peer's certificate was not accepted: in words for the log, and as reports to its domain call it."""

import msgspec

from valija.policy.tls_report import ResultType


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """One reason. `words` continue `the host: ...`."""

    result: ResultType
    words: str
