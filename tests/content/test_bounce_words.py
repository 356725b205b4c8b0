"""What people read. VALIJA_UPDATE_GOLDEN=1 writes the texts in tests/golden/bounces/en and es anew: read them then."""

import os
import string
from pathlib import Path

import pytest

from tests.content.reports import (
    ARRIVED,
    GREYLISTED,
    LIFETIME,
    NOW,
    delayed,
    delivered,
    expired,
    failed,
)
from valija.content.bounce_words import human_text, subject
from valija.content.reported import News, Reported, ReportKind
from valija.content.trouble import ACTORS, Actor, Trouble
from valija.content.words import VOCABULARIES, Language
from valija.content.words.vocabulary import Pair
from valija.mail.envelope import DeliverBy, Envelope
from valija.mail.reply import Reply

GOLDEN = Path(__file__).parent.parent / "golden" / "bounces"
LANGUAGES: tuple[Language, ...] = ("en", "es")


def news(*reported: Reported, kind: ReportKind = ReportKind.FAILURE, envelope: Envelope | None = None) -> News:
    envelope = envelope or Envelope("alice@local.example", ())
    return News(kind, envelope, "4F2", ARRIVED, reported, "mail.local.example", NOW)


def words(*reported: Reported, language: Language = "en", kind: ReportKind = ReportKind.FAILURE) -> str:
    return " ".join(human_text(news(*reported, kind=kind), (language,)).split())


def ours(reply: Reply, source: str = "") -> Reported:
    return failed(reply=reply, remote="", tls_source=source)


def given_up(reply: Reply, source: str = "") -> Reported:
    return failed(reply=reply, remote="", tls_source=source, expired_after=LIFETIME)


BY = Envelope("alice@local.example", (), deliver_by=DeliverBy(NOW - 60, returns=True))
HELD = Envelope("alice@local.example", (), hold_until=ARRIVED + 1800)
SPAM = Reply(550, "5.7.1", "Message rejected: it looks like spam")

EXAMPLES = {
    "no_such_user": news(failed()),
    "no_such_domain": news(ours(Reply(550, "5.1.2", "Domain not found: remote.example"))),
    "null_mx": news(ours(Reply(556, "5.1.10", "Domain remote.example takes no mail (null MX)"))),
    "mailbox_full": news(failed(reply=Reply(552, "5.2.2", "Quota exceeded"))),
    "too_large": news(failed(reply=Reply(552, "5.3.4", "Message size exceeds fixed limit"))),
    "unreachable": news(given_up(Reply(450, "4.4.1", "No connection to mx.remote.example[192.0.2.9]:25: timed out"))),
    "greylisted": news(expired(GREYLISTED)),
    "tls_by_setting": news(
        given_up(Reply(454, "4.7.4", "TLS is required (configured), but was not offered by mx.remote.example"))
    ),
    "tls_by_domain": news(
        given_up(Reply(454, "4.7.5", "TLS is required (DANE), but failed with mx.remote.example"), "dane")
    ),
    "tls_by_sender": news(
        ours(Reply(550, "5.7.30", "The sender asks for REQUIRETLS, which mx.remote.example does not offer"))
    ),
    "spam": news(failed(reply=SPAM)),
    "unproven_sender": news(failed(reply=Reply(550, "5.7.26", "Unauthenticated email is not accepted"))),
    "smtputf8": news(ours(Reply(550, "5.6.7", "The address is internationalised, and the host has no SMTPUTF8"))),
    "deadline": news(failed(reply=GREYLISTED, deadline_passed=True), envelope=BY),
    "held": news(failed(), envelope=HELD),
    "delay": news(delayed(), kind=ReportKind.DELAY),
    "success": news(delivered(""), kind=ReportKind.SUCCESS),
    "relayed": news(delivered("mx.remote.example"), kind=ReportKind.RELAYED),
    "untimed": news(delivered("mx.remote.example", dsn=True), kind=ReportKind.RELAYED, envelope=BY),
    "same_answer": news(*(failed(f"u{number}@remote.example") for number in range(3)), failed("z@far.example", SPAM)),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_texts_read_as_they_should(name: str, language: Language) -> None:
    told = EXAMPLES[name]
    text = f"{subject(told, (language,))}\n\n{human_text(told, (language,))}"
    path = GOLDEN / language / f"{name}.txt"
    if os.environ.get("VALIJA_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 72
    assert not any(line.endswith(" ") for line in text.splitlines())


def test_all_languages_advise_on_the_same_troubles() -> None:
    for vocabulary in VOCABULARIES.values():
        assert set(vocabulary.advice) == set(Trouble) == set(ACTORS)
        assert set(vocabulary.actors) == set(Actor)
        assert set(vocabulary.titles) == set(vocabulary.openings) == set(ReportKind)
        assert (len(vocabulary.weekdays), len(vocabulary.months)) == (7, 12)


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_all_languages_have_places_for_the_same_values() -> None:
    english, *others = VOCABULARIES.values()
    for other in others:
        for name in english.__struct_fields__:
            mine, theirs = getattr(english, name), getattr(other, name)
            if isinstance(mine, str) and name != "language":
                assert places(mine) == places(theirs), name
            if isinstance(mine, Pair):
                assert [*map(places, mine)] == [*map(places, theirs)], name


@pytest.mark.parametrize("language", LANGUAGES)
def test_advice_is_whole_sentences_without_places(language: Language) -> None:
    for advice in VOCABULARIES[language].advice.values():
        assert advice.meaning.endswith(".")
        assert advice.deed.endswith(".")
        assert not places(advice.meaning + advice.deed)


@pytest.mark.parametrize(
    ("seconds", "english", "spanish"),
    [
        (4, "4 seconds", "4 segundos"),
        (1, "1 second", "1 segundo"),
        (0.5, "0.5 seconds", "0.5 segundos"),
        (90, "90 seconds", "90 segundos"),
        (1800, "30 minutes", "30 minutos"),
        (3600, "1 hour", "1 hora"),
        (129_600, "36 hours", "36 horas"),
        (86_400, "1 day", "1 día"),
        (432_000, "5 days", "5 días"),
    ],
)
def test_a_duration_is_told_in_a_unit_that_fits(seconds: float, english: str, spanish: str) -> None:
    one = expired(Reply(451, "4.7.1", "x"), seconds)
    assert f"Delivery time expired after {english}." in words(one)
    assert f"El plazo de entrega venció después de {spanish}." in words(one, language="es")


def test_a_delay_tells_until_when() -> None:
    assert "only a warning" in words(delayed(), kind=ReportKind.DELAY)
    assert "until Sunday, 30 November 2025, 12:00 UTC." in words(delayed(), kind=ReportKind.DELAY)
    spanish = words(delayed(), kind=ReportKind.DELAY, language="es")
    assert "hasta el domingo 30 de noviembre de 2025 a las 12:00 UTC." in spanish


def test_two_languages_follow_each_other() -> None:
    text = human_text(news(failed()), ("en", "es"))
    above, english, spanish = text.partition("Your message")[0], *text.split("-" * 72)
    assert above == "Este informe está escrito también en español, más abajo.\n\n"
    assert "What to do" in english
    assert "Qué hacer" not in english
    assert "Qué hacer" in spanish
    assert "What to do" not in spanish
    assert text.count("550 5.1.1 No such user here") == 2


def test_the_same_answer_is_quoted_once() -> None:
    crowd = [failed(f"u{number}@remote.example") for number in range(37)]
    told = words(*crowd, failed("other@remote.example", SPAM))
    assert "The answer was the same for these 37 recipients: <u0@remote.example>" in told
    assert told.count("No such user here") == 1
    assert told.count("<other@remote.example>") == 1
    assert "La respuesta fue la misma para estos 37 destinatarios" in words(*crowd, language="es")


def test_an_answer_that_names_its_recipient_is_the_same_answer() -> None:
    crowd = [failed(f"u{n}@remote.example", Reply(550, "5.1.1", f"<u{n}@remote.example>: unknown")) for n in range(5)]
    told = words(*crowd)
    assert "The answer was the same for these 5 recipients:" in told
    assert told.count("550 5.1.1 <...>: unknown") == 1
    assert "550 5.1.1 <u0@remote.example>: unknown" in words(crowd[0])


def test_of_many_answers_each_is_cut_short() -> None:
    crowd = [failed(f"u{number}@remote.example", Reply(550, "", "x" * number)) for number in range(500, 600)]
    assert len(words(*crowd)) < 100 * 1200


@pytest.mark.parametrize(
    ("address", "reply", "actor"),
    [
        ("x@remote.example", Reply(450, "4.3.2", "down"), "The postmaster of remote.example."),
        ("x@remote.example", Reply(552, "5.2.2", "full"), "The recipient."),
        ("x@remote.example", Reply(550, "5.1.1", "no"), "You."),
        ("x@remote.example", Reply(550, "5.7.23", "spf"), "Your postmaster."),
        ("x@remote.example", Reply(550, "5.7.1", "no"), "You, or your postmaster."),
    ],
)
def test_who_has_to_act_is_named(address: str, reply: Reply, actor: str) -> None:
    assert f"Who has to act: {actor} What to do:" in words(failed(address, reply))


def test_of_several_domains_no_postmaster_is_named() -> None:
    reply = Reply(554, "5.3.0", "broken")
    told = words(failed("a@one.example", reply), failed("b@two.example", reply))
    assert "Who has to act: The recipient's postmaster." in told


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_subject_names_a_single_recipient_of_any_script(language: Language) -> None:
    title = {"en": "Mail not delivered: ", "es": "Correo no entregado: "}[language]
    assert subject(news(failed()), (language,)) == f"{title}x@remote.example"
    assert subject(news(failed("grå@remote.example")), (language,)) == (
        f"{title}=?utf-8?b?Z3LDpUByZW1vdGUuZXhhbXBsZQ==?="
    )
