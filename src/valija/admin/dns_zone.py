"""Records as a zone file has them, and as lines for people (RFC 1035 section 5.1).

zone_line(record)            # 'example.org. IN TXT "v=spf1 mx -all"'
zone_lines(records)          # the same for many, in columns, each group under a comment
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from valija.admin.dns_records import UNKNOWN, Plan, Record
from valija.content.dkim_published import zone_strings

_WIDEST: Final = 60  # characters of a name that a column is made for


def zone_value(record: Record) -> str:
    """Return a record's value: text in quotes, in strings of at most 255 octets."""
    if record.type != "TXT":
        return record.value
    return " ".join(_quoted(string) for string in zone_strings(record.value)) or '""'


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def zone_line(record: Record) -> str:
    """Return a record on one line of a zone file; the name is whole, so that it can stand in any zone."""
    return f"{record.name}. IN {record.type} {zone_value(record)}"


def zone_file(plan: Plan, hostname: str) -> Iterator[str]:
    """Yield the lines of a zone file. What does not belong into one's own zone, and what is told, are comments."""
    for title, records in groups(plan, hostname):
        width = _width(records) + 1
        yield f"; {title}"
        for record in records:
            # Reverse names lie in the zone of whoever owns the addresses.
            comment = "; " if record.type == "PTR" or record.value == UNKNOWN else ""
            yield f"{comment}{record.name + '.':<{width}} IN {record.type:<5} {zone_value(record)}"
        yield ""
    yield from (f"; {note}" for note in plan.notes)


def form_lines(plan: Plan, hostname: str) -> Iterator[str]:
    """Yield the records as the forms of DNS providers want them, each with what it is for."""
    for title, records in groups(plan, hostname):
        width = _width(records)
        yield title
        for record in records:
            yield f"  {record.type:<5}  {record.name:<{width}}  {record.value}"
            yield f"         {record.purpose}"
        yield ""
    yield "note: many forms add the domain to a name by themselves; these want the name without it"
    yield from (f"note: {note}" for note in plan.notes)


def _width(records: Iterable[Record]) -> int:
    """Return how wide the column of names is; a single name of IPv6's length shall not tear all lines apart."""
    return max((len(record.name) for record in records if len(record.name) <= _WIDEST), default=0)


def groups(plan: Plan, hostname: str) -> Iterator[tuple[str, Sequence[Record]]]:
    """Yield the records under a title for each: the server, and each domain."""
    for owner in dict.fromkeys(record.owner for record in plan.records):
        yield (f"domain {owner}" if owner else f"server {hostname}"), plan.of(owner)


def as_rows(records: Iterable[Record]) -> list[dict[str, object]]:
    """Return records for programs: `strings` are what a text is to be cut into."""
    return [
        {
            "domain": record.owner,
            "name": record.name,
            "type": record.type,
            "value": record.value,
            "strings": zone_strings(record.value) if record.type == "TXT" else [],
            "purpose": record.purpose,
            "needed": record.is_needed,
        }
        for record in records
    ]
