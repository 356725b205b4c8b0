"""What `valija route` tells: the server's own answer, and the setting that decides."""

from pathlib import Path
from typing import Any

import pytest

from tests.config.facts import FACTS
from valija.admin.way import Way, find_way, sender_matters
from valija.config import Config, parse
from valija.mail.address import AddressError

ROUTES = """
[smtp]
{smtp}
[[smtp.login]]
name = "work"
user = "alice"
password_file = "work.password"
[[smtp.pool]]
name = "bulk"
helo_name = "bulk.example.org"
[[smtp.route]]
domain = ".example.net"
next_hop = "[hop.example.net]:465"
login = "work"
[[smtp.route]]
sender = "@news.example"
pool = "bulk"
[[smtp.route]]
domain = "bad.example"
error = "Nobody writes there"
[[smtp.route]]
domain = "direct.example"
direct = true
[[smtp.policy]]
domain = "direct.example"
tls_security_level = "encrypt"
"""
RELAYHOST = 'relayhost = "[relay.example]:587"\nrelayhost_login = "work"\nfallback_relay = ["[spare.example]"]'
SPARE = ("[spare.example]",)


def config(smtp: str) -> Config:
    return parse('domains = ["example.org"]' + ROUTES.format(smtp=smtp), "valija.toml", Path("/"), FACTS)


@pytest.mark.parametrize(
    ("address", "sender", "next_hop", "why", "more"),
    [
        ("bob@Far.example", None, "[relay.example]:587", "[smtp] relayhost",
         {"login": "work", "tls_level": "verify", "tls_source": "login", "fallback": SPARE}),
        ("far.example", "", "[relay.example]:587", "[smtp] relayhost",
         {"login": "work", "tls_level": "verify", "tls_source": "login", "fallback": SPARE}),
        ("bob@far.example", "me@news.example", "[relay.example]:587",
         '[[smtp.route]] #2: sender = "@news.example"; next hop from [smtp] relayhost',
         {"login": "work", "pool": "bulk", "tls_level": "verify", "tls_source": "login", "fallback": SPARE}),
        ("bob@a.example.net", "me@news.example", "[hop.example.net]:465", '[[smtp.route]] #1: domain = ".example.net"',
         {"login": "work", "tls_wrappermode": True, "tls_level": "verify", "tls_source": "login", "fallback": SPARE}),
        ("bob@direct.example", None, "direct.example", '[[smtp.route]] #4: domain = "direct.example"',
         {"tls_level": "encrypt", "tls_source": "configured"}),
        ("bob@bad.example", None, "Nobody writes there", '[[smtp.route]] #3: domain = "bad.example"',
         {"transport": "error"}),
        ("bob@example.org", "me@news.example", "example.org", "domains: it is hosted here", {"transport": "maildir"}),
    ],
)  # fmt: skip
def test_the_way_and_why(address: str, sender: str | None, next_hop: str, why: str, more: dict[str, Any]) -> None:
    expected = Way(address, **{"transport": "remote", **more}, next_hop=next_hop, why=why)
    assert find_way(config(RELAYHOST), address, sender) == expected


def test_without_a_relayhost() -> None:
    way = find_way(config(""), "bob@far.example")
    assert (way.next_hop, way.why) == ("far.example", "no route and no relayhost: the domain's own hosts")
    by_rule = find_way(config(""), "bob@far.example", "me@news.example")
    assert (by_rule.next_hop, by_rule.pool) == ("far.example", "bulk")
    assert by_rule.why == '[[smtp.route]] #2: sender = "@news.example"'


@pytest.mark.parametrize(("address", "sender"), [("@far.example", None), ("a b", None), ("bob@x", "@"), ("bob@", None)])
def test_what_is_no_address(address: str, sender: str | None) -> None:
    with pytest.raises(AddressError):
        find_way(config(""), address, sender)


def test_whether_the_sender_matters() -> None:
    assert sender_matters(config(""))
    assert not sender_matters(parse("", "valija.toml", Path("/"), FACTS))
