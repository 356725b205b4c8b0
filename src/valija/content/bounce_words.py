"""The part of a report that people read: what happened, in whose words, who has to act, and what to do.

    text = human_text(news, ("es",))
    title = subject(news, ("en", "es"))        # one report may speak two languages, one after the other

The words stand in content/words, the choice of the advice in content/trouble. Peers' words are quoted; controls in them
are escaped, other scripts are kept. Recipients of whom the very same was said stand together, and of very many only the
first are named: the part for programs has them all.
"""

import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from valija.content.compose import encoded_words, readable
from valija.content.reported import News, Reported, ReportKind
from valija.content.trouble import ACTORS, Actor, trouble_of
from valija.content.words import VOCABULARIES, Language, Vocabulary
from valija.mail.address import domain_of

MAX_NAMED: Final = 100  # recipients

_WIDTH: Final = 72
_UNITS: Final = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}
_MAX_QUOTED: Final = 2000  # characters of one peer's reply
_MAX_QUOTED_OF_MANY: Final = 300  # the same where more than a few replies are quoted
_FEW: Final = 10
_LONGEST_SUBJECT_ADDRESS: Final = 200
_DIVIDER: Final = "-" * _WIDTH


def subject(news: News, languages: Sequence[Language]) -> str:
    """Return the report's subject, naming a single recipient: encoded words of RFC 2047 where it is not ASCII."""
    vocabularies = [VOCABULARIES[language] for language in languages]
    count = len(news.reported)
    if count == 1:
        address = readable(news.reported[0].recipient.reported_address, _LONGEST_SUBJECT_ADDRESS)
        return encoded_words(f"{' / '.join(words.titles[news.kind] for words in vocabularies)}: {address}")
    titles = [f"{words.titles[news.kind]}: {words.recipients.of(count)}" for words in vocabularies]
    return encoded_words(" / ".join(titles).format(count=count))


def human_text(news: News, languages: Sequence[Language]) -> str:
    """Return the whole text; lines end in LF and, addresses aside, have at most 72 characters."""
    first, *others = [VOCABULARIES[language] for language in languages]
    texts = [*(_wrap(words.follows) for words in others), _text(news, first)]
    texts += [f"{_DIVIDER}\n\n{_text(news, words)}" for words in others]
    return "\n\n".join(texts) + "\n"


def _text(news: News, words: Vocabulary) -> str:
    count = len(news.reported)
    paragraphs = [_wrap(words.openings[news.kind].of(count).format(count=count))]
    if count > MAX_NAMED:
        paragraphs.append(_wrap(words.named_in_part.format(count=MAX_NAMED)))
    room = MAX_NAMED
    for answer in news.answers:
        if room <= 0:
            break
        paragraphs += _about(news, answer, words, room)
        room -= len(answer)
    return "\n\n".join((*paragraphs, *_closing(news, words)))


def _closing(news: News, words: Vocabulary) -> Iterator[str]:
    envelope = news.envelope
    facts = [words.arrived.format(date=_date(news.arrived, words), queue_id=readable(news.queue_id, 200))]
    if envelope.hold_until > news.arrived:
        facts.append(words.held.format(date=_date(envelope.hold_until, words)))
    if envelope.deliver_by is not None:
        facts.append(words.due.format(date=_date(envelope.deliver_by.until, words)))
    yield _wrap(" ".join(facts))
    yield _wrap(words.contact.format(hostname=news.hostname))


def _about(news: News, answer: list[Reported], words: Vocabulary, room: int) -> Iterator[str]:
    """Tell of recipients that met the same fate, naming at most `room` of them."""
    one, kind = answer[0], news.kind
    if len(answer) > 1:
        yield _wrap(words.same_answer.format(count=len(answer)))
    yield _addresses(answer, words, room)
    yield _wrap(_what_happened(news, one, words), "    ")
    if kind not in (ReportKind.FAILURE, ReportKind.DELAY):
        return
    said = one.words if len(answer) == 1 else one.impersonal_words
    yield _quote(said, few=len(news.answers) <= _FEW)
    if one.expired_after:
        yield _wrap(words.expired.format(duration=_duration(one.expired_after, words)), "    ")
    yield from _what_to_do(kind, answer, words)


def _addresses(answer: list[Reported], words: Vocabulary, room: int) -> str:
    lines = [f"<{readable(one.recipient.reported_address)}>" for one in answer[:room]]
    more = len(answer) - len(lines)
    if more:
        lines.append(words.and_others.of(more).format(count=more))
    return "\n".join(lines)


def _what_happened(news: News, one: Reported, words: Vocabulary) -> str:
    kind, outcome = news.kind, one.outcome
    if kind is ReportKind.SUCCESS:
        text = words.delivered_by if outcome.remote else words.delivered_here
    elif kind is ReportKind.RELAYED:
        text = " ".join(_handed_over(news, one, words))
    elif not outcome.remote:
        text = words.found
    elif kind is ReportKind.FAILURE and not (outcome.reply.is_transient or one.expired_after or one.deadline_passed):
        text = words.refused
    else:
        text = words.put_off
    return text.format(host=_host(one))


def _handed_over(news: News, one: Reported, words: Vocabulary) -> Iterator[str]:
    outcome = one.outcome
    yield words.handed_to if outcome.remote else words.handed_on
    if not outcome.dsn_passed_on:
        yield words.unreported
    if news.envelope.deliver_by is not None and not outcome.deliver_by_passed_on:
        yield words.untimed


def _what_to_do(kind: ReportKind, answer: list[Reported], words: Vocabulary) -> Iterator[str]:
    trouble = trouble_of(kind, answer[0])
    advice = words.advice[trouble]
    lines = [_labelled(words.meaning, advice.meaning)]
    if kind is ReportKind.FAILURE:
        lines.append(_labelled(words.actor, _actor(ACTORS[trouble], answer, words)))
        lines.append(_labelled(words.deed, advice.deed))
    yield "\n".join(lines)
    if kind is ReportKind.DELAY and answer[0].will_retry_until:
        yield _wrap(words.retried_until.format(date=_date(answer[0].will_retry_until, words)), "    ")


def _actor(actor: Actor, answer: list[Reported], words: Vocabulary) -> str:
    domains = {domain_of(one.recipient.reported_address) for one in answer}
    if actor is Actor.THEIR_POSTMASTER and len(domains) == 1:
        return words.their_postmaster.format(domain=readable(domains.pop(), 255))
    return words.actors[actor]


def _labelled(label: str, text: str) -> str:
    return textwrap.fill(
        f"{label}: {text}", _WIDTH, initial_indent="    ", subsequent_indent="      ", break_on_hyphens=False
    )


def _host(one: Reported) -> str:
    address = one.outcome.remote_address
    name = readable(one.outcome.remote, 255)
    return f"{name} [{readable(address, 60)}]" if address else name


def _date(at: float, words: Vocabulary) -> str:
    day = datetime.fromtimestamp(int(at), UTC)
    return words.date.format(
        weekday=words.weekdays[day.weekday()],
        day=day.day,
        month=words.months[day.month - 1],
        year=day.year,
        time=f"{day.hour:02}:{day.minute:02}",
    )


def _duration(seconds: float, words: Vocabulary) -> str:
    """Return a duration in the largest unit that counts it without a remainder, as whoever set it wrote it."""
    unit = next((unit for unit in _UNITS if seconds % _UNITS[unit] == 0), "second")
    count = seconds / _UNITS[unit]
    return words.units[unit].of(count).format(count=f"{count:.15g}")


def _quote(words: str, *, few: bool) -> str:
    return _wrap(readable(words, _MAX_QUOTED if few else _MAX_QUOTED_OF_MANY), "        ")


def _wrap(words: str, indent: str = "") -> str:
    return textwrap.fill(
        words, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=True, break_on_hyphens=False
    )
