"""What is told to a domain about TLS with its hosts: the result of each session, as RFC 8460 counts it."""

from typing import Final, Literal

import msgspec

PolicyType = Literal["tlsa", "sts", "no-policy-found"]
ResultType = Literal[
    "",
    "starttls-not-supported",
    "certificate-host-mismatch",
    "certificate-expired",
    "certificate-not-trusted",
    "validation-failure",
    "tlsa-invalid",
    "dnssec-invalid",
    "dane-required",
    "sts-policy-fetch-error",
    "sts-policy-invalid",
    "sts-webpki-invalid",
]

SUCCESS: Final = ""


class TlsResult(msgspec.Struct, frozen=True, gc=False):
    """How the opening of one session ended. `result` is SUCCESS or a failure's type (RFC 8460 section 4.3).

    `domain` is the one whose mail it was about; `policy` the lines of what it publishes: TLSA records, or the fields of
    its MTA-STS policy. `detail` says in words what failed.
    """

    domain: str
    policy_type: PolicyType
    policy: tuple[str, ...] = ()
    mx_patterns: tuple[str, ...] = ()
    host: str = ""
    address: str = ""
    sending_address: str = ""
    result: ResultType = SUCCESS
    detail: str = ""
