"""The part of a report that people read: what happened, in whose words, who has to act, and what to do.

Advice is chosen by the subject and detail of the enhanced status code (RFC 3463), because peers' words come in any
language and tone; they are quoted beside it. Controls in them are escaped, other scripts are kept.
"""

import textwrap
from collections.abc import Iterator
from typing import Final

from valija.content.compose import date_time, printable, readable
from valija.content.delivery_status import status_of
from valija.content.reported import News, Reported, ReportKind

_WIDTH: Final = 72
_UNITS: Final = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}
_MAX_QUOTED: Final = 2000  # characters of one peer's reply

_OPENINGS: Final = {
    ReportKind.FAILURE: "Your message was not delivered to the recipients named below, and will not be tried again.",
    ReportKind.DELAY: (
        "Your message has not been delivered yet to the recipients named below. This is only a warning: "
        "the server goes on trying, and you need not send the message again."
    ),
    ReportKind.SUCCESS: "Your message was delivered to the recipients named below, as you asked to be told.",
    ReportKind.RELAYED: (
        "Your message was handed to the mail servers of the recipients named below. These servers do not report "
        "deliveries, so no further confirmation will come."
    ),
}
_SUBJECTS: Final = {
    ReportKind.FAILURE: "Mail not delivered",
    ReportKind.DELAY: "Mail delayed",
    ReportKind.SUCCESS: "Mail delivered",
    ReportKind.RELAYED: "Mail handed on",
}
_ADVICE: Final = {
    "1.1": "The address does not exist. You can mend this: look for a typing mistake, or ask the recipient for the "
    "right address, and send the message again.",
    "1.2": "The domain of the address does not exist. You can mend this: look for a typing mistake after the @, "
    "and send the message again.",
    "1.10": "The domain of the address takes no mail at all. You can mend this: ask the recipient for another address.",
    "1": "The address was not accepted. You can mend this: check it letter by letter, and send the message again.",
    "2.1": "The recipient's mailbox is closed. Ask the recipient for another address.",
    "2.2": "The recipient's mailbox is full. The recipient has to make room: tell them by other means, and send the "
    "message again when they have.",
    "2.3": "The message is too large for the recipient. You can mend this: send it smaller, or share large files by "
    "link.",
    "2": "The trouble is with the recipient's mailbox. The recipient or their postmaster has to act.",
    "3.4": "The message is too large for the recipient's server. You can mend this: send it smaller, or share large "
    "files by link.",
    "3": "The recipient's mail server has a fault. Its postmaster has to act; send the message again later.",
    "4.6": "The message travelled in circles. The postmaster of this server or the recipient's has to act; please "
    "forward this report to yours.",
    "4.7": "The recipient's server could not be reached, or did not take the message, for as long as this server "
    "tries. The recipient's postmaster has to act. Check the part after the @; if it is right, send the message again "
    "later.",
    "4": "The recipient's mail server could not be reached. Check the part after the @ for a typing mistake; if it is "
    "right, the recipient's postmaster has to act.",
    "6.7": "The recipient's server does not take addresses in this script. Ask the recipient for an address in plain "
    "letters a to z.",
    "6": "The recipient's server did not like the form of the message. Forward this report to your postmaster.",
    "7": "The recipient's server refused the message by its rules; its words above may say which. If they tell you "
    "nothing, forward this report to your postmaster, who can talk to the other side.",
    "": "The words above are all that is known. If they tell you nothing, forward this report to your postmaster.",
}


def subject(news: News) -> str:
    """Return the report's subject, naming a single recipient."""
    kind, reported = news.kind, news.reported
    if len(reported) != 1:
        return f"{_SUBJECTS[kind]} to {len(reported)} recipients"
    address = reported[0].recipient.reported_address
    return f"{_SUBJECTS[kind]}: {printable(address, 200)}" if address.isascii() else _SUBJECTS[kind]


def human_text(news: News) -> str:
    """Return the whole text; lines end in LF and, addresses aside, have at most 72 characters."""
    arrival = f"The message arrived here on {date_time(news.arrived)} and had the queue id {printable(news.queue_id)}."
    paragraphs = [
        _wrap(f"This is the mail server {news.hostname}."),
        _wrap(_OPENINGS[news.kind]),
        *(paragraph for one in news.reported for paragraph in _about(news.kind, one)),
        _wrap(arrival),
        _wrap(f"Questions are answered by postmaster@{news.hostname}; tell the queue id."),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _about(kind: ReportKind, one: Reported) -> Iterator[str]:
    yield f"<{readable(one.recipient.reported_address)}>"
    yield _what_happened(kind, one)
    if kind in (ReportKind.FAILURE, ReportKind.DELAY):
        yield _quote(str(one.outcome.reply))
    if one.expired_after:
        yield _wrap(f"Delivery time expired after {_duration(one.expired_after)}.", "    ")
    if kind is ReportKind.FAILURE:
        yield _wrap(_advice(one), "    ")
    if kind is ReportKind.DELAY and one.will_retry_until:
        yield _wrap(f"It will be tried until {date_time(one.will_retry_until)}.", "    ")


def _what_happened(kind: ReportKind, one: Reported) -> str:
    outcome = one.outcome
    host = _host(one)
    if kind is ReportKind.SUCCESS:
        words = f"Delivered by {host}." if outcome.remote else "Delivered to the mailbox here."
    elif kind is ReportKind.RELAYED:
        words = f"Handed to {host}." if outcome.remote else "Handed on."
    elif not outcome.remote:
        words = "This server found:"
    elif kind is ReportKind.FAILURE and not (outcome.reply.is_transient or one.expired_after):
        words = f"The server {host} refused the message for good, and said:"
    else:
        words = f"The server {host} did not take the message when it was last tried, and said:"
    return _wrap(words, "    ")


def _host(one: Reported) -> str:
    address = one.outcome.remote_address
    name = printable(one.outcome.remote, 255)
    return f"{name} [{printable(address, 60)}]" if address else name


def _advice(one: Reported) -> str:
    _, about, detail = status_of(ReportKind.FAILURE, one).split(".")
    return _ADVICE.get(f"{about}.{detail}") or _ADVICE.get(about) or _ADVICE[""]


def _duration(seconds: float) -> str:
    """Return a duration in the largest unit that counts it without a remainder, as whoever set it wrote it."""
    unit = next((unit for unit in _UNITS if seconds % _UNITS[unit] == 0), "second")
    count = f"{seconds / _UNITS[unit]:.15g}"
    return f"{count} {unit}{'' if count == '1' else 's'}"


def _quote(words: str) -> str:
    return _wrap(readable(words, _MAX_QUOTED), "        ")


def _wrap(words: str, indent: str = "") -> str:
    return textwrap.fill(
        words, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=True, break_on_hyphens=False
    )
