"""Addresses with their type."""

import re

from hypothesis import given
from hypothesis import strategies as st

from valija.content.typed_address import ascii_orcpt, decode_xtext, original_recipient, typed_address

characters = st.characters(exclude_categories=["Cs", "Cc"])
all_characters = st.characters(exclude_categories=["Cs"])
XTEXT = re.compile(r"(?:[!-*,-<>-\[\]-~]|\\x\{[0-9A-F]{2,6}\})*")


def test_plain_addresses_have_the_old_type() -> None:
    assert typed_address("x+y@remote.example", internationalised=True) == "rfc822; x+y@remote.example"
    assert typed_address('"a b"@remote.example', internationalised=False) == 'rfc822; "a b"@remote.example'


def test_of_a_form_that_needs_escapes_all_that_it_forbids_is_escaped() -> None:
    assert typed_address('"å \\"+b"@x.example', internationalised=True) == (r'utf-8; "å\x{20}\x{5C}"\x{2B}b"@x.example')
    assert typed_address("å+b@x.example", internationalised=True) == "utf-8; å+b@x.example"


@given(st.text(characters, min_size=1, max_size=50))
def test_an_address_comes_back_from_either_form(address: str) -> None:
    address = f"å{address}@x.example"
    for wide in (False, True):
        written = typed_address(address, internationalised=wide).removeprefix("utf-8; ")
        if not wide:
            assert XTEXT.fullmatch(written)
        read = original_recipient(f"utf-8;{written}", internationalised=wide)
        if "+" not in address or not wide:
            assert read == f"utf-8;{written}"


@given(st.text(all_characters, max_size=50))
def test_an_orcpt_for_every_hop_is_ascii_and_means_the_same(text: str) -> None:
    orcpt = f"utf-8;å{text.replace(chr(92), '').replace('+', '')}"
    carried = ascii_orcpt(orcpt)
    assert carried.isascii()
    assert original_recipient(carried, internationalised=True) == original_recipient(orcpt, internationalised=True)


def test_an_ascii_orcpt_is_not_touched() -> None:
    assert ascii_orcpt("rfc822;a+2Bb@remote.example") == "rfc822;a+2Bb@remote.example"


def test_what_stands_for_no_character_is_left() -> None:
    assert original_recipient(r"utf-8;a\x{D800}\x{110000}b", internationalised=False) == (
        r"utf-8;a\x{5C}x{D800}\x{5C}x{110000}b"
    )
    assert decode_xtext("a+2Bb+C3+A5+FF+") == "a+bå\udcff+"
