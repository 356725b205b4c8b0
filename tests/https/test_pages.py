"""What is answered to whom: each page, each host, and whatever else somebody may ask for."""

import os
import plistlib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.https.samples import TEXT, site
from valija.https.pages import Page, Request, answer
from valija.policy.mta_sts import parse_policy

GOLDEN = Path(__file__).parent.parent / "golden" / "https"
POLICY = "/.well-known/mta-sts.txt"
THUNDERBIRD = "/mail/config-v1.1.xml"
WELL_KNOWN = "/.well-known/autoconfig/mail/config-v1.1.xml"
OUTLOOK = "/autodiscover/autodiscover.xml"
APPLE = "/apple.mobileconfig"
SITE = site()
SYSTEM_USERS = site(f'{TEXT}[sasl]\ntype = "pam"\n')


def get(host: str, path: str, **query: str) -> Page:
    return answer(SITE, Request("GET", host, path, query))


def post(host: str, address: str, path: str = OUTLOOK) -> Page:
    body = f"<Autodiscover><Request><EMailAddress>{address}</EMailAddress></Request></Autodiscover>"
    return answer(SITE, Request("POST", host, path, {}, body.encode()))


# The pages


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("policy.txt", get("mta-sts.example.org", POLICY)),
        ("thunderbird.xml", get("autoconfig.example.org", THUNDERBIRD)),
        ("outlook.xml", post("autodiscover.example.org", "alice@example.org")),
        ("apple.mobileconfig", get("autoconfig.example.org", APPLE, email="alice@example.org")),
    ],
)
def test_what_is_served(name: str, page: Page) -> None:
    assert page.status == 200
    expected = GOLDEN / name
    if os.environ.get("VALIJA_WRITE_GOLDEN"):
        expected.write_bytes(page.body)
    assert page.body == expected.read_bytes()


def test_senders_understand_the_policy() -> None:
    page = get("mta-sts.example.net", POLICY)
    policy = parse_policy(page.body)
    assert (page.media_type, policy.mode, policy.mx) == ("text/plain", "testing", ("mail.example.org",))


def test_system_users_log_in_by_their_name() -> None:
    asked = Request("GET", "autoconfig.example.org", APPLE, {"email": "alice@example.org"})
    (account,) = plistlib.loads(answer(SYSTEM_USERS, asked).body)["PayloadContent"]
    assert account["IncomingMailServerUsername"] == account["OutgoingMailServerUsername"] == "alice"
    page = answer(SYSTEM_USERS, Request("GET", "autoconfig.example.org", THUNDERBIRD))
    assert b"<username>%EMAILLOCALPART%</username>" in page.body


def test_a_profile_keeps_its_identity_and_differs_from_account_to_account() -> None:
    def identity(address: str) -> object:
        return plistlib.loads(get("example.org", APPLE, email=address).body)["PayloadUUID"]

    assert identity("alice@example.org") == identity("alice@example.org")
    assert identity("alice@example.org") != identity("bob@example.org")


def test_settings_of_a_domain_asked_for_at_another_host_of_ours() -> None:
    page = get("mail.example.org", WELL_KNOWN, emailaddress="alice@example.net")
    assert b"<domain>example.net</domain>" in page.body
    assert get("mail.example.org", WELL_KNOWN).status == 404
    assert b"<domain>example.org</domain>" in get("example.org", WELL_KNOWN, emailaddress="x@evil.example").body


def test_what_the_user_calls_himself_is_escaped() -> None:
    address = "a&b'=<c>@example.org"
    assert post("example.org", address).status == 400
    page = post("example.org", "a&b'c@example.org")
    root = ET.fromstring(page.body)  # well formed
    assert "a&b'c@example.org" in [element.text for element in root.iter()]
    (account,) = plistlib.loads(get("example.org", APPLE, email="a&b'c@example.org").body)["PayloadContent"]
    assert account["EmailAddress"] == "a&b'c@example.org"


# Who is answered


@pytest.mark.parametrize("host", ["MTA-STS.Example.ORG", "mta-sts.example.org.", "mta-sts.example.org:8443"])
def test_a_host_is_known_in_any_spelling(host: str) -> None:
    assert get(host, POLICY).status == 200


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("evil.example", POLICY),
        ("mta-sts.evil.example", POLICY),
        ("sub.mta-sts.example.org", POLICY),
        ("mta-sts.mail.example.org", POLICY),
        ("example.org", POLICY),
        ("mail.example.org", POLICY),
        ("autoconfig.example.org", POLICY),
        ("", POLICY),
        ("[::1]:443", POLICY),
        ("mta-sts.example.org", THUNDERBIRD),
        ("mta-sts.example.org", APPLE),
        ("autodiscover.example.org", THUNDERBIRD),
        ("mta-sts.example.org", "/"),
        ("mta-sts.example.org", "/.well-known/../.well-known/mta-sts.txt"),
        ("mta-sts.example.org", "/.well-known/mta-sts.txt/"),
        ("mta-sts.example.org", "//.well-known/mta-sts.txt"),
        ("mta-sts.example.org", "/../../../../etc/passwd"),
        ("xn--\xfc" * 900, POLICY),
    ],
)
def test_all_else_is_not_there(host: str, path: str) -> None:
    assert get(host, path).status == 404


@pytest.mark.parametrize(
    "address",
    ["alice@evil.example", "alice", "@example.org", "alice@[127.0.0.1]", "a\u202eb@example.org", "al ice@example.org"],
)
def test_addresses_that_are_not_ours(address: str) -> None:
    assert post("example.org", address).status == 404
    assert get("example.org", APPLE, email=address).status == 404


def test_a_question_without_an_address() -> None:
    assert get("example.org", APPLE).status == 400
    assert answer(SITE, Request("POST", "example.org", OUTLOOK, {}, b"\xff<!DOCTYPE x [")).status == 400


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", POLICY, "GET, HEAD"),
        ("DELETE", APPLE, "GET, HEAD"),
        ("GET", OUTLOOK, "POST"),
        ("GET", "/Autodiscover/Autodiscover.xml", "POST"),
    ],
)
def test_other_methods_are_refused(method: str, path: str, allow: str) -> None:
    page = answer(SITE, Request(method, "example.org", path))
    assert (page.status, page.allow) == (405, allow)


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace('imap_host = "imap.example.org"', ""),
        f"{TEXT}[submission]\nlisten = []\n[submissions]\nlisten = []\n",
    ],
    ids=["no incoming server", "no outgoing server"],
)
def test_half_an_account_is_not_served(text: str) -> None:
    half = site(text)
    for path in (THUNDERBIRD, APPLE):
        assert answer(half, Request("GET", "autoconfig.example.org", path, {"email": "a@example.org"})).status == 404
    assert answer(half, Request("GET", "mta-sts.example.org", POLICY)).status == 200


def test_where_dovecot_judges_logins_it_keeps_the_mail_too() -> None:
    mail = site(TEXT.replace('[autoconfig]\nimap_host = "imap.example.org"', '[sasl]\ntype = "dovecot"')).mail
    assert mail
    assert (mail.incoming.host, mail.incoming.port) == ("mail.example.org", 993)
    assert site(TEXT.replace("imap.example.org", "") + '[sasl]\ntype = "dovecot"\n').mail is None


HOSTS = st.one_of(st.text(max_size=80), st.sampled_from(["example.org", "mta-sts.example.org", "mail.example.org"]))
PATHS = st.one_of(st.text(max_size=80), st.sampled_from([POLICY, THUNDERBIRD, OUTLOOK, APPLE, OUTLOOK.upper()]))
TEXTS = st.text(max_size=80)


@given(st.sampled_from(["GET", "POST", "HEAD", "x"]), HOSTS, PATHS, TEXTS, st.binary(max_size=200))
def test_whatever_is_asked_has_an_answer(method: str, host: str, path: str, address: str, body: bytes) -> None:
    whole = body + f"<EMailAddress>{address}</EMailAddress>".encode("utf-8", "replace")
    page = answer(SITE, Request(method, host, path, {"email": address, "emailaddress": address}, whole))
    assert page.status in (200, 400, 404, 405)


@given(st.from_regex(r"[!#-'*+/-9=?A-Z^-~-]{1,64}", fullmatch=True))
def test_whatever_address_is_ours_makes_a_document_that_is_well_formed(local_part: str) -> None:
    for page in (
        post("example.org", f"{local_part}@example.org"),
        get("example.org", APPLE, email=f"{local_part}@example.org"),
    ):
        if page.status == 200:
            ET.fromstring(page.body)
