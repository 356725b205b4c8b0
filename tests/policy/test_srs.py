"""SRS: reverse-paths that find back, and those that nobody but us can make."""

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from valija.mail.address import MAX_PATH, normalise_domain, quote, split, unquote
from valija.policy.srs import DAY, MOST_DAYS, is_return_path, original, rewritten
from valija.smtp.grammar import path

KEY, OTHER = b"k" * 32, b"o" * 32
NOW = 1_800_000_000.0
HERE = "example.org"
ANN = "ann@remote.example"

domains = st.lists(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True), min_size=1, max_size=4).map(
    ".".join
)
meanings = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\x7f"), min_size=1, max_size=90
)
senders = st.builds(lambda meaning, domain: f"{quote(meaning)}@{normalise_domain(domain)}", meanings, domains)


def there(reverse_path: str = ANN, domain: str = HERE, key: bytes = KEY, now: float = NOW) -> str:
    made = rewritten(reverse_path, domain, key, now)
    assert made is not None
    return made


def test_one_address_there_and_back() -> None:
    made = there()
    assert made.startswith("SRS0=")
    assert made.endswith("=remote.example=ann@example.org")
    assert is_return_path(made)
    assert original(made, [OTHER, KEY], NOW) == ANN


@given(senders)
def test_whatever_can_be_rewritten_finds_back(sender: str) -> None:
    made = rewritten(sender, HERE, KEY, NOW)
    assume(made is not None)
    assert made is not None
    assert path(f"<{made}>") == (made, ""), "the server that gets it as a recipient can read it"
    found = original(made, [KEY], NOW)
    local, domain = split(sender)
    assert found == f"{quote(unquote(local))}@{domain}"


@given(senders, st.integers(1, 4))
def test_a_chain_of_forwarders_finds_back_over_the_first(sender: str, hops: int) -> None:
    hosts = [f"forwarder{number}.example" for number in range(hops + 1)]
    keys = {host: host.encode() for host in hosts}
    travelling = sender
    for host in hosts:
        made = rewritten(travelling, host, keys[host], NOW)
        assume(made is not None)
        assert made is not None
        travelling = made
    last = hosts[-1]
    assert is_return_path(travelling)
    assert "SRS1=" in travelling
    back = original(travelling, [keys[last]], NOW)
    assert back is not None
    assert split(back)[1] == hosts[0], "over the first, whatever number came behind"
    local, domain = split(sender)
    assert original(back, [keys[hosts[0]]], NOW) == f"{quote(unquote(local))}@{domain}"


@given(st.integers(0, len(there()) - len("@example.org") - 1), st.sampled_from(string.ascii_letters + string.digits))
def test_a_changed_character_makes_a_forgery(place: int, character: str) -> None:
    made = there()
    changed = made[:place] + character + made[place + 1 :]
    assume(changed.lower() != made.lower())
    assert original(changed, [KEY], NOW) is None


@given(st.text(max_size=80))
def test_nobody_guesses_one(text: str) -> None:
    assert original(f"SRS0={text}@{HERE}", [KEY], NOW) is None
    assert original(f"{quote(f'SRS1={text}')}@{HERE}", [KEY], NOW) is None


def test_of_two_kinds_with_the_same_words_each_has_its_own_hash() -> None:
    srs1 = there("SRS0=AA=BB=c.example=d@e.example")
    said = unquote(srs1).split("=")[1]
    assert original(f"SRS0={said}=AA=e.example==AA=BB=c.example=d@{HERE}", [KEY], NOW) is None


def test_another_key_makes_another_hash() -> None:
    assert original(there(key=OTHER), [KEY], NOW) is None
    assert original(there(), [], NOW) is None


@pytest.mark.parametrize("days", [-1, 0, 1, MOST_DAYS])
def test_it_is_good_for_some_weeks(days: int) -> None:
    assert original(there(), [KEY], NOW + days * DAY) == ANN


@pytest.mark.parametrize("days", [-2, MOST_DAYS + 1, 500, 1000, 1022])
def test_and_no_longer(days: int) -> None:
    assert original(there(), [KEY], NOW + days * DAY) is None


def test_the_case_that_others_give_it_does_not_matter() -> None:
    assert original(there().upper(), [KEY], NOW) == "ANN@remote.example"
    assert original(there().lower(), [KEY], NOW) == ANN
    assert is_return_path(there().lower())


@pytest.mark.parametrize(
    ("sender", "made_of"),
    [
        ("SRS0=abcd=XY=first.example=ann@second.example", "SRS1=*=second.example==abcd=XY=first.example=ann"),
        ("srs0+ab+c=XY=first.example=ann@second.example", "SRS1=*=second.example=+ab+c=XY=first.example=ann"),
        ("SRS1=zz=first.example==abcd=XY=zero.example=ann@b.example", "SRS1=*=first.example==abcd=XY=zero.example=ann"),
        ("SRS1-zz=first.example=-abcd=XY=zero.example=ann@b.example", "SRS1=*=first.example=-abcd=XY=zero.example=ann"),
        ("srs0@second.example", "SRS0=*=second.example=srs0"),
        ("SRS1=only@second.example", "SRS0=*=second.example=SRS1=only"),
        ("SRS1=zz=no domain==x@second.example", "SRS0=*=second.example=SRS1=zz=no domain==x"),
    ],
)
def test_what_other_forwarders_made(sender: str, made_of: str) -> None:
    local, domain = split(sender)
    made = unquote(split(there(f"{quote(local)}@{domain}"))[0])
    kind, rest = made_of.split("=*=")
    assert made.startswith(kind + "=")
    assert made.endswith("=" + rest)


@pytest.mark.parametrize("sender", ["", "postmaster", "ann@[192.0.2.1]", "@remote.example"])
def test_what_has_no_other_form(sender: str) -> None:
    assert rewritten(sender, HERE, KEY, NOW) is None


def test_a_path_keeps_to_its_length() -> None:
    room = MAX_PATH - len("<>") - len(there("@".join(("a", "remote.example")))) + 1
    longest = there("a" * room + "@remote.example")
    assert len(longest) + 2 == MAX_PATH
    assert original(longest, [KEY], NOW) == "a" * room + "@remote.example"
    assert rewritten("a" * (room + 1) + "@remote.example", HERE, KEY, NOW) is None
    assert rewritten("é" * (room // 2 + 1) + "@remote.example", HERE, KEY, NOW) is None


def test_a_forged_sender_of_odd_letters_is_quoted_on_its_way_back() -> None:
    sender = '"a\\"b>\\\\ c"@remote.example'
    assert original(there(sender), [KEY], NOW) == sender
