"""Authentication-Results fields (RFC 8601): written for what was checked here, taken away where others claim to be us.

    results_field("mx.example.net", [Result("spf", "pass", (("smtp.mailfrom", "alice@example.org"),))])

writes, folded:

    Authentication-Results: mx.example.net;
    \\tspf=pass smtp.mailfrom=alice@example.org

`without_claims` removes each such field that bears our name, however it is written: in any case, in quotes, behind
comments, in Unicode, as an encoded word. One whose name cannot be read in only one way goes too (section 5).

Known weakness: a field in the name of another host is left alone, and whoever believes that host is misled by it.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from valija.content.compose import WIDTH, printable
from valija.content.header import Field, fields
from valija.mail.address import AddressError, normalise_domain

NAME: Final = b"authentication-results"
_MARK: Final = b"authentication-results"
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+", re.ASCII)
_ADDRESS: Final = re.compile(r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+)?@[A-Za-z0-9._-]+", re.ASCII)
_NAMED: Final = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))\s*(?:\d+\s*)?(?:;|\Z)', re.DOTALL)
_RESULT: Final = re.compile(r"\s*([A-Za-z0-9-]+)(?:\s*/\s*\d+)?\s*=\s*([A-Za-z0-9-]+)", re.ASCII)
_MOST_CHARACTERS: Final = 200  # of one value


class Result(NamedTuple):
    """What one method came to: properties as (`smtp.mailfrom`, value); a reason and a comment for human eyes."""

    method: str
    verdict: str
    properties: Sequence[tuple[str, str]] = ()
    reason: str = ""
    comment: str = ""


def results_field(authserv_id: str, results: Sequence[Result]) -> bytes:
    """Return the field that tells what was checked, ended by CRLF. Nothing that a stranger wrote can end it early."""
    lines = [f"Authentication-Results: {authserv_id};"]
    if not results:
        lines[0] += " none"
    for result in results:
        lines += _folded(list(_words(result)))
        lines[-1] += ";"
    lines[-1] = lines[-1].removesuffix(";")
    return ("\r\n\t".join(lines) + "\r\n").encode("ascii", "replace")


def _words(result: Result) -> "list[str]":
    words = [f"{result.method}={result.verdict}"]
    if result.comment:
        words.append(f"({_in_comment(result.comment)})")
    if result.reason:
        words.append(f"reason={_quoted(result.reason)}")
    return words + [f"{name}={_value(value)}" for name, value in result.properties if value]


def _folded(words: list[str]) -> list[str]:
    lines, line = [], words[0]
    for word in words[1:]:
        if len(line) + len(word) > WIDTH - 10:  # a tab is as wide as eight columns to most eyes
            lines.append(line)
            line = word
        else:
            line += f" {word}"
    return [*lines, line]


def _value(text: str) -> str:
    short = printable(text, _MOST_CHARACTERS)
    return short if _TOKEN.fullmatch(short) or _ADDRESS.fullmatch(short) else _quoted(short)


def _quoted(text: str) -> str:
    escaped = printable(text, _MOST_CHARACTERS).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _in_comment(text: str) -> str:
    return re.sub(r"[()\\]", "", printable(text, _MOST_CHARACTERS))


def without_claims(header: bytes, authserv_id: str) -> bytes:
    """Return a header less the fields that speak in the name of `authserv_id`; most headers have none."""
    if _MARK not in header.lower():
        return header
    return b"".join(field.raw for field in fields(header) if not (_is_one(field) and _claims(field, authserv_id)))


def _is_one(field: Field) -> bool:
    return field.name == NAME


def _claims(field: Field, authserv_id: str) -> bool:
    name = authserv_id_of(field.value)
    return name is None or name == authserv_id


def authserv_id_of(value: bytes) -> str | None:
    """Return in whose name a field's value speaks, as lower-case A-labels where it is a domain.

    None where that can be read in several ways, or in none.
    """
    text = _without_comments(value.decode("utf-8", "surrogateescape"))
    named = _NAMED.match(text) if text is not None else None
    if named is None:
        return None
    name = re.sub(r"\\(.)", r"\1", named[1], flags=re.DOTALL) if named[1] is not None else named[2]
    name = re.sub(r"[\r\n]", "", name).strip()
    if "=?" in name or not name.isprintable():
        return None
    name = name.partition("/")[0]
    try:
        return normalise_domain(name)
    except AddressError:
        return name.lower().strip(".") if name.isascii() else None


def verdicts_in(value: bytes) -> dict[str, list[str]]:
    """Return the verdicts of each method that a field's value tells, in lower case; none of one that is malformed."""
    text = _without_comments(value.decode("utf-8", "surrogateescape"))
    found: dict[str, list[str]] = {}
    for part in _parts(text or "")[1:]:
        result = _RESULT.match(part)
        if result is not None:
            found.setdefault(result[1].lower(), []).append(result[2].lower())
    return found


def _parts(text: str) -> list[str]:
    """Return what semicolons outside of quotes divide."""
    return ["".join(part) for part in _split(re.findall(r'"(?:[^"\\]|\\.)*"?|[^";]+|;', text, re.DOTALL))]


def _split(pieces: list[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for piece in pieces:
        if piece == ";":
            parts.append([])
        else:
            parts[-1].append(piece)
    return parts


def _without_comments(text: str) -> str | None:
    """Return a text less its comments, each a blank (RFC 5322 section 3.2.2); None where one does not end."""
    kept: list[str] = []
    depth = 0
    is_quoted = is_escaped = False
    for char in text:
        if is_escaped:
            is_escaped = False
        elif char == "\\":
            is_escaped = True
        elif is_quoted:
            is_quoted = char != '"'
        elif char in "()":
            depth += 1 if char == "(" else -1
            if depth < 0:
                return None
            char = " "  # noqa: PLW2901 - where a comment was, a blank is
        elif char == '"' and not depth:
            is_quoted = True
        if not depth:
            kept.append(char)
    return None if depth or is_quoted or is_escaped else "".join(kept)
