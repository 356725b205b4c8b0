"""What `valija check` finds: one thing about the server, how bad it is, and what to do about it."""

from typing import Literal

import msgspec

Grade = Literal["ok", "warning", "failure"]


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One finding. `remedy` may be empty.

    `topic`: configuration, user, certificate, logins, dkim, relay, sending or dns.
    """

    grade: Grade
    topic: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.text}; {self.remedy}" if self.remedy else self.text


def fine(topic: str, text: str) -> Finding:
    """Return what is as it should be."""
    return Finding("ok", topic, text)


def warning(topic: str, text: str, remedy: str = "") -> Finding:
    """Return what works but may surprise, or could not be found out."""
    return Finding("warning", topic, text, remedy)


def failure(topic: str, text: str, remedy: str = "") -> Finding:
    """Return what keeps the server from starting, or surely loses mail."""
    return Finding("failure", topic, text, remedy)
