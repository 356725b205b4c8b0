"""Which languages a report is written in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.content.options import ReportOptions
from valija.content.report_language import languages

AUTO = ReportOptions()


@pytest.mark.parametrize(
    ("header", "spoken"),
    [
        (b"Accept-Language: es-ES\r\n", ("es",)),
        (b"Accept-Language: de-DE, es-ES, en-US\r\n", ("es",)),
        (b"Accept-Language: es;q=0.3, en;q=0.8\r\n", ("en",)),
        (b"Accept-Language: es;q=0, EN\r\n", ("en",)),
        (b"Accept-Language: es; Q=0.9,\r\n en-GB\r\n", ("en",)),
        (b"Content-Language: ES-419\r\n", ("es",)),
        (b"Content-Language: en\r\nAccept-Language: es\r\n", ("es",)),
        (b"Content-Language: de, en\r\n", ("en",)),
        (b"Accept-Language: de\r\nContent-Language: es\r\n", ("es",)),
        (b"Accept-Language: estonian\r\n", ("en", "es")),
        (b"Accept-Language: es;q=much\r\n", ("en", "es")),
        (b"Accept-Language: es;q=nan\r\n", ("en", "es")),
        (b"Accept-Language: \xff\xfe,;;,q=\r\n", ("en", "es")),
        (b"Subject: Accept-Language: es\r\n", ("en", "es")),
        (b"", ("en", "es")),
    ],
)
def test_the_message_tells_its_language_or_gets_both(header: bytes, spoken: tuple[str, ...]) -> None:
    assert languages(AUTO, header) == spoken


@pytest.mark.parametrize(
    ("options", "spoken"),
    [
        (ReportOptions("en"), ("en",)),
        (ReportOptions("es"), ("es",)),
        (ReportOptions("both"), ("en", "es")),
        (ReportOptions("auto", "es"), ("es",)),
        (ReportOptions("auto", "en"), ("en",)),
    ],
)
def test_the_postmaster_decides(options: ReportOptions, spoken: tuple[str, ...]) -> None:
    assert languages(options, b"Subject: hi\r\n") == spoken


def test_a_fixed_language_is_fixed() -> None:
    assert languages(ReportOptions("en"), b"Accept-Language: es\r\n") == ("en",)
    assert languages(ReportOptions("auto", "en"), b"Accept-Language: es\r\n") == ("es",)


@given(st.binary(max_size=300))
def test_any_header_gives_a_language(value: bytes) -> None:
    assert languages(AUTO, b"Accept-Language:" + value + b"\r\n")
