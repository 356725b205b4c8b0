"""What `valija check` finds: one thing about the server, how bad it is, and what to do about it."""

from typing import Literal

import msgspec

Grade = Literal["ok", "warning", "failure", "unknown"]
Absent = Literal["", "needed", "useful"]


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One finding. `remedy` may be empty.

    `topic` is one of: configuration, user, data, clock, limits, ports, certificate, logins, mailboxes, milters, rspamd,
    dkim, relay, sending; and of the DNS: dns, host, reverse, mx, spf, dmarc, dnssec, mta-sts, tls-rpt, tlsa, clients.
    `absent` is set where a record is not there at all, by how much it is missed.
    """

    grade: Grade
    topic: str
    text: str
    remedy: str = ""
    absent: Absent = ""

    def __str__(self) -> str:
        return f"{self.text}; {self.remedy}" if self.remedy else self.text


def fine(topic: str, text: str) -> Finding:
    """Return what is as it should be."""
    return Finding("ok", topic, text)


def warning(topic: str, text: str, remedy: str = "") -> Finding:
    """Return what works but may surprise, or could be better."""
    return Finding("warning", topic, text, remedy)


def missing(topic: str, text: str, remedy: str = "") -> Finding:
    """Return the warning that a record is not there which mail suffers without."""
    return Finding("warning", topic, text, remedy, absent="needed")


def optional(topic: str, text: str, remedy: str = "") -> Finding:
    """Return that a record is not there which a server may do without."""
    return Finding("ok", topic, text, remedy, absent="useful")


def unknown(topic: str, text: str, remedy: str = "") -> Finding:
    """Return what could not be found out."""
    return Finding("unknown", topic, text, remedy)


def failure(topic: str, text: str, remedy: str = "") -> Finding:
    """Return what keeps the server from starting, or surely loses mail."""
    return Finding("failure", topic, text, remedy)
