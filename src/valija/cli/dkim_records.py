"""How the commands of valija dkim tell of keys and of the records that publish them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from valija.cli.frame import Call, Refusal, rfc3339
from valija.mail.address import AddressError, normalise_domain

if TYPE_CHECKING:
    from valija.config import Config
    from valija.content.dkim_key import DkimKey
    from valija.dkim_keys import DkimKeys
    from valija.policy.dkim_stages import KeyStage


def keys_of(call: Call, config: "Config") -> "DkimKeys":
    """Return the keys of all domains; what is wrong with one is noted."""
    from valija.dkim_keys import DkimKeys

    return DkimKeys(config.dkim_dir, call.note)


def domain_name(written: str) -> str:
    """Return a domain as a human wrote it. Raises Refusal."""
    try:
        return normalise_domain(written)
    except AddressError as error:
        raise Refusal(f"{written!r} is no domain: {error}") from None


def as_json(key: "DkimKey", stage: "KeyStage", now: float) -> dict[str, Any]:
    """Return what is told of a key: `record` is `publish`, or `keep` for a retired one, or `remove`."""
    from valija.content.dkim_key import dns_record

    name, value = dns_record(key)
    return {
        "domain": key.domain,
        "selector": key.selector,
        "kind": key.kind,
        "name": name,
        "value": value,
        "stage": stage.stage,
        "since": rfc3339(stage.since),
        "record": _record(stage, now),
    }


def _record(stage: "KeyStage", now: float) -> str:
    from valija.policy.dkim_stages import may_go

    if stage.stage != "retired":
        return "publish"
    return "remove" if may_go(stage, now) else "keep"


def zone_lines(key: "DkimKey") -> list[str]:
    """Return the record as a zone file has it: the value cut into strings, as the DNS wants it."""
    from valija.content.dkim_key import dns_record
    from valija.content.dkim_published import zone_strings

    name, value = dns_record(key)
    return [f"{name}. IN TXT (", *(f'  "{piece}"' for piece in zone_strings(value)), ")"]


def form_lines(key: "DkimKey") -> Iterator[str]:
    """Return the record as a provider's web form wants it: the name without the domain, the value in one piece."""
    from valija.content.dkim_key import dns_record

    name, value = dns_record(key)
    yield f"in a provider's web form, of type TXT, for {key.domain}:"
    yield f"  name:  {name.removesuffix(f'.{key.domain}')}"
    yield f"  value: {value}"


def stage_line(stage: "KeyStage", now: float) -> str:
    """Say where a key stands, as a comment of a zone file."""
    day = rfc3339(stage.since)[:10]
    match stage.stage, _record(stage, now):
        case "waiting", _:
            return f"; {stage.selector} ({stage.kind}) waits since {day}: publish this, then valija dkim activate"
        case "signing", _:
            return f"; {stage.selector} ({stage.kind}) signs since {day}"
        case _, "keep":
            return f"; {stage.selector} ({stage.kind}) is retired since {day}: leave its record, mail still needs it"
    return f"; {stage.selector} ({stage.kind}) is retired since {day}: take its record away, then valija dkim remove"
