"""DMARC's records and tree walks: the examples of RFC 9989 (appendix B.4), and what strangers may write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.policy.dmarc import Walk, WalkFailed, discover, is_aligned, may_be_aligned, policy_for, targets
from valija.policy.dmarc_record import Policy, Record, find_record, parse_record

PLAIN = "v=DMARC1; p=reject"


def walk(start: str, **records: str) -> Walk:
    """Return a walk where `signing_example_com="v=DMARC1..."` are the records; underscores stand for dots."""
    published = {name.replace("_", "."): (text,) for name, text in records.items()}
    return Walk.of(start, {domain: published.get(domain, ()) for domain in targets(start)})


# Records (section 4.7)


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ("v=DMARC1", Record()),
        ("v=DMARC1;p=reject", Record(policy="reject")),
        ("v = DMARC1 ; p = REJECT ; pct=50", Record(policy="reject")),
        ("v=DMARC1; sp=none; np=reject; p=quarantine", Record("quarantine", "none", "reject")),
        ("v=DMARC1; p=none; adkim=s; aspf=S", Record(strict_dkim=True, strict_spf=True)),
        ("v=DMARC1; p=reject; t=y; psd=n", Record("reject", is_test=True, psd="n")),
        ("v=DMARC1; p=reject; adkim=x; psd=maybe; ; unknown=1; broken", Record("reject")),
        ("v=DMARC1; p=reject; p=none", Record("reject")),
        ("v=DMARC1; p=maybe; rua=mailto:a@example.org", Record()),
        ("v=DMARC1; p=reject; sp=maybe; rua=mailto:a@example.org", Record()),
        ("v=DMARC1; p=maybe", Record(applies=False)),
        ("v=DMARC1; p=reject; np=maybe; rua=nonsense", Record(applies=False)),
    ],
)
def test_what_a_record_says(text: str, record: Record) -> None:
    assert parse_record(text) == record


@pytest.mark.parametrize("text", ["", "v=dmarc1; p=reject", "p=reject; v=DMARC1", "v=DMARC10; p=none", "v=spf1 -all"])
def test_other_texts_are_no_records(text: str) -> None:
    assert parse_record(text) is None


def test_several_records_are_none() -> None:
    assert find_record([PLAIN, "v=spf1 -all"]) == Record("reject")
    assert find_record([PLAIN, "v=DMARC1; p=none"]) is None
    assert find_record([]) is None


# The walk (section 4.10)


def test_a_long_name_makes_eight_look_ups() -> None:
    assert targets("a.b.c.d.e.f.g.h.i.j.mail.example.com") == (
        "a.b.c.d.e.f.g.h.i.j.mail.example.com",
        "g.h.i.j.mail.example.com",
        "h.i.j.mail.example.com",
        "i.j.mail.example.com",
        "j.mail.example.com",
        "mail.example.com",
        "example.com",
        "com",
    )
    assert targets("a.mail.example.com") == ("a.mail.example.com", "mail.example.com", "example.com", "com")
    assert len(targets("1.2.3.4.5.6.7.8")) == 8
    assert targets("com") == ("com",)


def test_the_simple_example() -> None:
    author = walk("example.com", example_com=PLAIN)
    signer = walk("signing.example.com", signing_example_com=PLAIN, example_com=PLAIN)
    assert signer.organizational_domain == author.organizational_domain == "example.com"
    assert is_aligned(signer, author)


def test_the_deep_example() -> None:
    author = walk("a.b.c.d.e.f.g.h.i.j.k.example.com", example_com=PLAIN)
    assert author.organizational_domain == "example.com"
    found = discover(author)
    assert found is not None
    assert found.domain == "example.com"


def test_the_example_with_a_public_suffix() -> None:
    suffix = {"bank_example": "v=DMARC1; p=reject; psd=y"}
    author = walk("giant.bank.example", giant_bank_example="v=DMARC1; p=none", **suffix)
    mail = walk("mail.giant.bank.example", giant_bank_example="v=DMARC1; p=none", **suffix)
    other = walk("mail.mega.bank.example", **suffix)
    assert author.organizational_domain == mail.organizational_domain == "giant.bank.example"
    assert other.organizational_domain == "mega.bank.example"
    assert is_aligned(mail, author)
    assert not is_aligned(other, author)
    assert (discovered := discover(author)) is not None
    assert discovered.domain == "giant.bank.example"
    assert (discovered := discover(other)) is not None
    assert discovered.domain == "bank.example"


def test_who_says_that_it_is_an_organization_is_one() -> None:
    found = walk("a.mail.example.com", mail_example_com="v=DMARC1; psd=n", example_com=PLAIN)
    assert found.organizational_domain == "mail.example.com"
    assert walk("a.mail.example.com", com="v=DMARC1; psd=y").organizational_domain == "example.com"
    assert walk("a.example.com").organizational_domain == "a.example.com"


def test_a_missing_answer_matters_only_where_the_walk_comes_by() -> None:
    stopped = {"mail.example.com": ("v=DMARC1; psd=n",), "example.com": None, "com": None}
    assert Walk.of("mail.example.com", stopped).organizational_domain == "mail.example.com"
    with pytest.raises(WalkFailed):
        Walk.of("mail.example.com", {"mail.example.com": (PLAIN,), "example.com": None, "com": ()})


# The policy (section 4.10.1)


@pytest.mark.parametrize(
    ("author", "text", "exists", "policy"),
    [
        ("example.com", "v=DMARC1; p=reject; sp=none; np=quarantine", True, "reject"),
        ("a.example.com", "v=DMARC1; p=reject; sp=none; np=quarantine", True, "none"),
        ("a.example.com", "v=DMARC1; p=reject; sp=none; np=quarantine", False, "quarantine"),
        ("a.example.com", "v=DMARC1; p=reject; sp=none", False, "none"),
        ("a.example.com", "v=DMARC1; p=reject", False, "reject"),
        ("example.com", "v=DMARC1; p=reject; t=y", True, "quarantine"),
        ("example.com", "v=DMARC1; p=quarantine; t=y", True, "none"),
        ("a.example.com", "v=DMARC1; np=reject; t=y", False, "quarantine"),
    ],
)
def test_what_the_owner_wants_done(author: str, text: str, exists: bool, policy: Policy) -> None:
    found = discover(walk(author, example_com=text))
    assert found is not None
    assert policy_for(found, author, exists=exists) == policy


def test_a_record_without_any_use_is_none() -> None:
    assert discover(walk("a.example.com", a_example_com="v=DMARC1; p=maybe", example_com=PLAIN)) is None


def test_who_could_be_aligned() -> None:
    author = walk("mail.example.com", example_com=PLAIN)
    assert may_be_aligned("example.com", author, strict=False)
    assert may_be_aligned("other.example.com", author, strict=False)
    assert not may_be_aligned("badexample.com", author, strict=False)
    assert not may_be_aligned("example.com", author, strict=True)
    assert may_be_aligned("mail.example.com", author, strict=True)


@given(st.text(max_size=100), st.lists(st.text(max_size=100), max_size=3))
def test_no_text_raises(text: str, texts: list[str]) -> None:
    parse_record(text)
    parse_record(f"v=DMARC1; {text}")
    find_record(texts)


labels = st.lists(st.sampled_from(["a", "b", "mail", "example", "com"]), min_size=1, max_size=12)


@given(labels, st.lists(st.sampled_from([None, PLAIN, "v=DMARC1; psd=y", "v=DMARC1; psd=n"]), min_size=8, max_size=8))
def test_the_organization_is_the_domain_or_above_it(names: list[str], published: list[str | None]) -> None:
    start = ".".join(names)
    asked = targets(start)
    assert len(asked) <= 8
    texts = {domain: (text,) if text else () for domain, text in zip(asked, published, strict=False)}
    found = Walk.of(start, texts)
    organization = found.organizational_domain
    assert start == organization or start.endswith(f".{organization}")
    discover(found)
