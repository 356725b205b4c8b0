"""Each way in which a record is spoilt has its own words and its own remedy."""

from functools import cache

import pytest

from valija.content.dkim_key import DkimKey, Kind, dns_record, generate
from valija.content.dkim_published import judge, zone_strings


@cache
def key(selector: str, kind: Kind) -> DkimKey:
    return DkimKey.load("example.org", selector, generate(kind))


NEW = key("new", "rsa")
OLD = key("old", "rsa")
VALUE = dns_record(NEW)[1]
PIECES = zone_strings(VALUE)
PUBLIC = VALUE.partition("p=")[2]


def test_a_value_is_cut_into_strings_that_the_dns_can_hold() -> None:
    assert "".join(PIECES) == VALUE
    assert [len(piece) for piece in PIECES] == [255, len(VALUE) - 255]


@pytest.mark.parametrize(
    "texts",
    [
        [VALUE],
        [VALUE, "v=spf1 -all"],
        [VALUE.replace("; ", ";")],
        [VALUE.replace("v=DKIM1; ", "")],
        [" ".join(PIECES)],  # a blank where the strings meet is no part of base64
        [VALUE.replace("k=rsa; ", "")],
    ],
)
def test_what_fits(texts: list[str]) -> None:
    judged = judge(NEW, texts, [OLD])
    assert (judged.fits, judged.words) == (True, "")


def test_what_fits_and_is_unusual_is_remarked() -> None:
    assert judge(NEW, [VALUE + ";"]).words == "a semicolon ends it, which is allowed"
    testing = judge(NEW, [VALUE.replace("k=rsa", "t=y; k=rsa")])
    assert (testing.fits, testing.remedy) == (True, "take t=y out of it")


@pytest.mark.parametrize(
    ("texts", "words", "remedy"),
    [
        ([], "there is no TXT record", "publish the record"),
        (["v=spf1 -all"], 'no DKIM record, but "v=spf1 -all"', "publish the value"),
        ([VALUE.replace(";", "\\;")], "backslashes", "plain semicolons"),
        ([f'"{VALUE}"'], "quotation marks have become a part", "in one piece and without"),
        ([f'"{PIECES[0]}" "{PIECES[1]}"'], "quotation marks have become a part", "in one piece"),
        ([f'( "{PIECES[0]}" "{PIECES[1]}" )'], "quotation marks have become a part", "in one piece"),
        ([f"({VALUE})"], "parentheses", "the bare value"),
        ([PIECES[0]], f"cut off after 255 of {len(VALUE)} characters", "split the value"),
        ([VALUE[:-30]], "cut off after", "split the value"),
        ([PIECES[1]], "cut off after", "split the value"),
        (PIECES, "pieces stand in records of their own", "the strings of one record"),
        (PIECES[::-1], "pieces stand in records of their own", "the strings of one record"),
        ([dns_record(OLD)[1]], "still has the key of the selector old", "put the value of new in its place"),
        ([dns_record(key("x", "rsa"))[1]], "another key (p= differs)", "replace its value"),
        ([VALUE.replace(PUBLIC, "")], "it is revoked", "exactly as"),
        ([VALUE.replace("k=rsa", "k=ed25519")], "no ed25519 key", "exactly as"),
        ([VALUE.replace("k=rsa", "h=sha1; k=rsa")], "forbids SHA-256", "exactly as"),
        ([VALUE.replace("v=DKIM1; ", "v=DKIM1; s=tlsrpt; ")], "not for mail", "exactly as"),
        (["v=DKIM1; k=rsa"], "has no key (p=)", "exactly as"),
        ([VALUE, dns_record(OLD)[1]], "several keys are published under this name", "but this key's"),
        ([dns_record(OLD)[1]] * 2, "none of them this one", "leave this key's record alone"),
    ],
)
def test_what_does_not_fit(texts: list[str], words: str, remedy: str) -> None:
    judged = judge(NEW, texts, [OLD])
    assert not judged.fits
    assert words in judged.words
    assert remedy in judged.remedy


def test_an_ed25519_record_is_judged_alike() -> None:
    new = key("new", "ed25519")
    value = dns_record(new)[1]
    assert judge(new, [value]).fits
    assert "cut off" in judge(new, [value[:-10]]).words
    assert "another key" in judge(new, [dns_record(key("x", "ed25519"))[1]]).words
