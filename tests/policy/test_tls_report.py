"""TLS reports as text: who wants them, and what they say (RFC 8460)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.policy.tls_report import ResultType, TlsResult
from valija.policy.tls_report_body import (
    MOST_LINES,
    Counted,
    Sender,
    build_report,
    date_of,
    parse_report,
    report_filename,
    report_json,
    told,
)
from valija.policy.tls_report_record import MAX_PLACES, HttpsPlace, MailPlace, Place, parse_place, report_places

TLS = MailPlace("tls@example.net")
WEB = HttpsPlace("https://reports.example.net/v1/tls")

# Who wants them


@pytest.mark.parametrize(
    ("record", "places"),
    [
        ("v=TLSRPTv1;rua=mailto:tls@example.net", (TLS,)),
        ("v=TLSRPTv1; rua=https://reports.example.net/v1/tls", (WEB,)),
        ("v=TLSRPTv1; rua=mailto:tls@example.net,https://reports.example.net/v1/tls;", (TLS, WEB)),
        ("v=TLSRPTv1; rua=mailto:tls@example.net , https://reports.example.net/v1/tls", (TLS, WEB)),
        ("v=TLSRPTv1 ; x=y; rua=mailto:tls@example.net; z=1", (TLS,)),
        ("v=TLSRPTv1; rua=mailto:tls@example.net; rua=mailto:other@example.net", (TLS,)),
        ("v=TLSRPTv1; rua=mailto:tls@example.net,mailto:tls@EXAMPLE.net", (TLS,)),
        ("v=TLSRPTv1; rua=ftp://example.net,mailto:tls@example.net", (TLS,)),
        ("v=TLSRPTv1; rua=", ()),
        ("v=TLSRPTv1;", ()),
        ("v=TLSRPTv1; rubbish; rua=mailto:tls@example.net", ()),
        ("v=TLSRPTv2; rua=mailto:tls@example.net", ()),
        ("rua=mailto:tls@example.net; v=TLSRPTv1", ()),
    ],
)
def test_record(record: str, places: tuple[Place, ...]) -> None:
    assert report_places([record]) == places


def test_there_is_exactly_one_record_of_this_version() -> None:
    one, other = "v=TLSRPTv1; rua=mailto:tls@example.net", "v=spf1 -all"
    assert report_places([other, one]) == (TLS,)
    assert report_places([one, one]) == ()
    assert report_places([other]) == ()


def test_nobody_can_have_a_report_sent_to_the_whole_world() -> None:
    many = ",".join(f"mailto:tls{number}@example.net" for number in range(100))
    assert len(report_places([f"v=TLSRPTv1; rua={many}"])) == MAX_PLACES


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("MAILTO:tls@example.net", TLS),
        ("mailto:tls%40example.net", TLS),
        ("mailto:tls@example.net?subject=x", TLS),
        ("mailto:a%2Cb@example.net", None),
        ("mailto:tls@example.net%0D%0ABcc:x@example.com", None),
        ("mailto:tls@example.net>%20SIZE=1", None),
        ("mailto:tls@[192.0.2.1]", None),
        ("mailto:t%C3%B1s@example.net", None),
        ("mailto:", None),
        ("mailto:postmaster", None),
        ("https://", None),
        ("https://user:secret@example.net/", None),
        ("https://example.net:0/", None),
        ("https://example.net:99999/", None),
        ("https://[::1/", None),
        ("http://example.net/", None),
        ("https://example.net/ñ", None),
        ("https://example.net/\x00", None),
        ("https://example.net/" + "x" * 1000, None),
    ],
)
def test_places(written: str, place: Place | None) -> None:
    assert parse_place(written) == place


@given(st.lists(st.text(), max_size=3))
def test_no_record_raises(records: list[str]) -> None:
    report_places(records)
    report_places([f"v=TLSRPTv1; rua={record}" for record in records])
    for record in records:
        parse_place(f"mailto:{record}")
        parse_place(f"https:{record}")


# What they say

STS = ("version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400")


def failed(result: ResultType, sending: str, host: str, address: str = "", detail: str = "") -> TlsResult:
    return TlsResult(
        "company-y.example", "sts", STS, ("*.mail.company-y.example",), host, address, sending, result, detail
    )


def test_the_example_of_the_standard() -> None:
    """RFC 8460, appendix B; `additional-information` is what we have nothing of."""
    counts = [
        Counted(TlsResult("company-y.example", "sts", STS, ("*.mail.company-y.example",)), 5326),
        Counted(failed("certificate-expired", "2001:db8:abcd:12::1", "mx1.mail.company-y.example"), 100),
        Counted(
            failed("starttls-not-supported", "2001:db8:abcd:13::1", "mx2.mail.company-y.example", "203.0.113.56"), 200
        ),
        Counted(
            failed(
                "validation-failure",
                "198.51.100.62",
                "mx-backup.mail.company-y.example",
                "203.0.113.58",
                "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED",
            ),
            3,
        ),
    ]
    sender = Sender("Company-X", "sts-reporting@company-x.example")
    report = build_report("company-y.example", 16892, counts, sender, "5065427c")
    assert json.loads(report_json(report)) == {
        "organization-name": "Company-X",
        "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
        "contact-info": "sts-reporting@company-x.example",
        "report-id": "2016-04-01.5065427c@company-x.example",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-string": list(STS),
                    "policy-domain": "company-y.example",
                    "mx-host": ["*.mail.company-y.example"],
                },
                "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
                "failure-details": [
                    {
                        "result-type": "starttls-not-supported",
                        "sending-mta-ip": "2001:db8:abcd:13::1",
                        "receiving-mx-hostname": "mx2.mail.company-y.example",
                        "receiving-ip": "203.0.113.56",
                        "failed-session-count": 200,
                    },
                    {
                        "result-type": "certificate-expired",
                        "sending-mta-ip": "2001:db8:abcd:12::1",
                        "receiving-mx-hostname": "mx1.mail.company-y.example",
                        "failed-session-count": 100,
                    },
                    {
                        "result-type": "validation-failure",
                        "sending-mta-ip": "198.51.100.62",
                        "receiving-ip": "203.0.113.58",
                        "receiving-mx-hostname": "mx-backup.mail.company-y.example",
                        "failed-session-count": 3,
                        "failure-reason-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED",
                    },
                ],
            }
        ],
    }
    assert report.sessions == (5629, 303)
    assert parse_report(report_json(report)) == report
    assert report_filename(report) == "company-x.example!company-y.example!1459468800!1459555199!5065427c.json.gz"


def test_each_policy_has_its_own_part() -> None:
    tlsa = ("3 1 1 00ff",)
    counts = [
        Counted(TlsResult("example.net", "tlsa", tlsa, ("mx.example.net",)), 1),
        Counted(TlsResult("example.net", "no-policy-found"), 2),
        Counted(TlsResult("example.net", "tlsa", tlsa, ("mx.example.net",), result="tlsa-invalid"), 4),
    ]
    report = json.loads(report_json(build_report("example.net", 0, counts, Sender("o", "p@example.org"), "u")))
    assert [(each["policy"], each["summary"]) for each in report["policies"]] == [
        (
            {
                "policy-type": "tlsa",
                "policy-domain": "example.net",
                "policy-string": ["3 1 1 00ff"],
                "mx-host": ["mx.example.net"],
            },
            {"total-successful-session-count": 1, "total-failure-session-count": 4},
        ),
        (
            {"policy-type": "no-policy-found", "policy-domain": "example.net"},
            {"total-successful-session-count": 2, "total-failure-session-count": 0},
        ),
    ]


def test_what_is_counted_has_bounds_and_no_controls() -> None:
    hostile = "x\r\n\x1b[31m\u202e" + "y" * 10_000
    result = told(TlsResult("example.net", "sts", (hostile,) * 1000, result="validation-failure", detail=hostile))
    assert len(result.policy) == MOST_LINES
    assert all(text.isascii() and text.isprintable() for text in (*result.policy, result.detail))
    assert len(result.detail) < 400


def test_of_a_success_only_the_policy_is_told() -> None:
    plain = TlsResult("example.net", "sts", ("mode: testing",), ("mx.example.net",))
    assert told(TlsResult("example.net", "sts", ("mode: testing",), ("mx.example.net",), "mx", "::1", "::2")) == plain


def test_tlsa_records_are_those_of_a_host() -> None:
    result = told(TlsResult("example.net", "tlsa", ("3 1 1 00ff",), (), "mx1.example.net", "::1"))
    assert result == TlsResult("example.net", "tlsa", ("3 1 1 00ff",), ("mx1.example.net",))


def test_days() -> None:
    assert date_of(0) == "1970-01-01"
    assert date_of(19_700) == "2023-12-09"
