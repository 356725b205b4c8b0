"""What a name server has where a key of ours should be, judged in words with the remedy (RFC 6376 section 3.6.1).

    judged = judge(key, texts, siblings)
    judged.fits or f"{judged.words}: {judged.remedy}"

`texts` are the TXT records at the key's name, the strings of each joined. Providers' web forms and zone files have
their own ways of spoiling them; each that is known has its own words here.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from valija.content.dkim_key import DkimKey, dns_record
from valija.content.dkim_record import RecordFault, key_tags, parse_record
from valija.content.tag_list import TagFault, parse_tags, without_blanks

_STRING: Final = 255  # octets of one character-string (RFC 1035 section 3.3)
_SHORTEST_PIECE: Final = 20  # characters that show that a piece belongs to a key
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+=*", re.ASCII)


class Judgement(msgspec.Struct, frozen=True):
    """Whether a record publishes the key, and in words what it does instead, with the remedy.

    A record that fits may have words too: a remark on what is unusual and works.
    """

    fits: bool
    words: str = ""
    remedy: str = ""


FITS: Final = Judgement(True)


def zone_strings(value: str) -> list[str]:
    """Return a value cut into the strings that one TXT record is made of."""
    return [value[start : start + _STRING] for start in range(0, len(value), _STRING)]


def judge(key: DkimKey, texts: Sequence[str], siblings: Sequence[DkimKey] = ()) -> Judgement:
    """Return what the records at a key's name are worth; `siblings` are the domain's other keys."""
    if not texts:
        return Judgement(False, "there is no TXT record", "publish the record that valija dkim list prints")
    meant = [text for text in texts if key_tags(text) is not None]
    if len(meant) > 1:
        return _several(key, meant)
    if meant and (len(texts) == 1 or _publishes(key, meant[0])):
        return _judge_record(key, meant[0], siblings, others=[text for text in texts if text != meant[0]])
    return _judge_spoilt(key, texts)


def _publishes(key: DkimKey, text: str) -> bool:
    try:
        record = parse_record(text)
    except RecordFault:
        return False
    return record.public == key.private.public_key()


def _several(key: DkimKey, meant: Sequence[str]) -> Judgement:
    if any(_publishes(key, text) for text in meant):
        return Judgement(False, "several keys are published under this name", "take away the records but this key's")
    return Judgement(False, "several keys are published, none of them this one", "leave this key's record alone there")


def _judge_record(key: DkimKey, text: str, siblings: Sequence[DkimKey], others: Sequence[str]) -> Judgement:
    """Judge a text that is a list of tags."""
    if _publishes(key, text):
        return _remark(text)
    if _is_cut(key, [text, *others]):
        return _cut(key, text, others)
    try:
        published = parse_record(text)
    except RecordFault as fault:
        return Judgement(False, _reading(str(fault)), "publish the record exactly as valija dkim list prints it")
    for sibling in siblings:
        if sibling.private.public_key() == published.public:
            words = f"it still has the key of the selector {sibling.selector}"
            return Judgement(False, words, f"put the value of {key.selector} in its place")
    return Judgement(False, "it has another key (p= differs)", "replace its value by the one valija dkim list prints")


def _remark(text: str) -> Judgement:
    """Return what is to be said of a record that has the key: it may be marked as a test, which some go by."""
    tags = key_tags(text) or {}
    if "y" in tags.get("t", "").split(":"):
        return Judgement(True, "it is marked as a test (t=y): some receivers ignore it", "take t=y out of it")
    if text.rstrip().endswith(";"):
        return Judgement(True, "a semicolon ends it, which is allowed")
    return FITS


def _reading(fault: str) -> str:
    return fault.replace("the key's record", "it").replace("the key is", "it is")


def _judge_spoilt(key: DkimKey, texts: Sequence[str]) -> Judgement:
    """Judge texts of which none is a list of DKIM's tags."""
    whole = texts[0]
    if any("\\" in text for text in texts):
        words = "it is quoted wrongly: there are backslashes in the value"
        return Judgement(False, words, "write plain semicolons; only a zone file without quotation marks needs \\;")
    if any('"' in text for text in texts):
        words = "it is quoted wrongly: the quotation marks have become a part of the value"
        return Judgement(False, words, "give the form the value in one piece and without quotation marks")
    if _is_cut(key, texts):
        return _cut(key, whole, texts[1:])
    if any(text.lstrip().startswith("(") or text.rstrip().endswith(")") for text in texts):
        words = "it is split wrongly: the parentheses have become a part of the value"
        return Judgement(False, words, "parentheses belong to zone files: give the form the bare value")
    words = f"it is no DKIM record, but {_shown(whole)}"
    return Judgement(False, words, "publish the value that valija dkim list prints, from v=DKIM1 on")


def _is_cut(key: DkimKey, texts: Sequence[str]) -> bool:
    """Whether a text is a piece of the key's record, and not the whole."""
    published = without_blanks(dns_record(key)[1])
    pieces = [without_blanks(text).rstrip(";") for text in texts]
    if any(piece.startswith(published[:_SHORTEST_PIECE]) and _is_start(key, piece) for piece in pieces):
        return True
    return any(len(piece) >= _SHORTEST_PIECE and _BASE64.fullmatch(piece) and piece in published for piece in pieces)


def _is_start(key: DkimKey, piece: str) -> bool:
    try:
        start = parse_tags(piece.encode("utf-8", "surrogateescape")).get("p", "")
    except TagFault:
        return False
    whole = without_blanks(dns_record(key)[1]).partition("p=")[2]
    return bool(start) and start != whole and whole.startswith(start)


def _cut(key: DkimKey, text: str, others: Sequence[str]) -> Judgement:
    if others:
        words = "it is split wrongly: its pieces stand in records of their own"
        return Judgement(False, words, "make them the strings of one record, as valija dkim list prints it")
    words = f"it is cut off after {len(text)} of {len(dns_record(key)[1])} characters"
    remedy = f"split the value into strings of {_STRING} at most in one record, as valija dkim list prints it"
    return Judgement(False, words, remedy)


def _shown(text: str) -> str:
    short = text if len(text) <= _SHORTEST_PIECE * 2 else f"{text[: _SHORTEST_PIECE * 2]}..."
    return f'"{short}"'
