import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.mail.envelope import Envelope
from valija.mail.fault import Fault
from valija.mail.job import Route
from valija.policy.next_hop import NextHop
from valija.policy.route import Router, RouteRule, parse_domain, parse_sender

MAIL = Envelope("alice@local.example", ())
RELAY = NextHop("relay.example", 587)


def via(host: str, port: int = 0, **more: object) -> Route:
    return Route("remote", host, port, False, is_relayhost=True, **more)  # type: ignore[arg-type]  # as they are named


def relayed(**more: str) -> Route:
    return via("relay.example", 587, **more)


def test_hosted_domains_go_to_their_maildir() -> None:
    for relayhost in (None, NextHop("relay.example")):
        router = Router(["local.example"], relayhost)
        assert router.route(MAIL, "alice@local.example") == Route("maildir", "local.example")
        assert router.route(MAIL, '"bob@remote.example"@local.example') == Route("maildir", "local.example")


def test_all_else_goes_to_its_domain() -> None:
    router = Router(["local.example"], None)
    assert router.route(MAIL, "bob@remote.example") == Route("remote", "remote.example", 0, True)
    assert router.route(MAIL, "bob@sub.local.example") == Route("remote", "sub.local.example")
    assert router.route(MAIL, '"alice@local.example"@remote.example').next_hop == "remote.example"


def test_all_else_goes_to_the_relayhost() -> None:
    router = Router(["local.example"], RELAY)
    assert router.route(MAIL, "bob@remote.example") == via("relay.example", 587)
    assert router.route(MAIL, "bob@remote.example") == router.route(MAIL, "carol@other.example")
    by_mx = Router([], NextHop("relay.example", lookup_mx=True))
    assert by_mx.route(MAIL, "bob@remote.example") == Route("remote", "relay.example", 0, True, is_relayhost=True)
    assert Router([], RELAY, login="work").route(MAIL, "bob@remote.example").login == "work"


def named(**rule: str) -> RouteRule:
    """A rule whose next hop tells which one it was."""
    return RouteRule(next_hop=NextHop(f"{rule.get('domain', 'any')}|{rule.get('sender', 'any')}"), **rule)  # type: ignore[arg-type]  # texts all


TABLE = [
    named(domain="example.net"),
    named(domain="example.net", sender="@b.example"),
    named(domain="example.net", sender="ann@b.example"),
    named(domain=".example.net"),
    named(domain=".deep.example.net", sender="ann@b.example"),
    named(domain=".net"),
    named(sender="@b.example"),
    named(sender="ann@b.example"),
    named(sender="<>"),
    named(domain="narrow.example", sender="ann@b.example"),
]


@pytest.mark.parametrize(
    ("sender", "recipient", "rule"),
    [
        ("zoe@a.example", "x@example.net", "example.net|any"),
        ("zoe@b.example", "x@example.net", "example.net|@b.example"),
        ("ann@b.example", "x@example.net", "example.net|ann@b.example"),
        ("Ann+list@b.example", "x@example.net", "example.net|ann@b.example"),
        ('"ann"@b.example', "x@example.net", "example.net|ann@b.example"),
        ("", "x@example.net", "example.net|any"),
        # Below a domain is not the domain itself, and the longest name wins.
        ("zoe@a.example", "x@mx.example.net", ".example.net|any"),
        ("zoe@a.example", "x@a.deep.example.net", ".example.net|any"),
        ("ann@b.example", "x@a.deep.example.net", ".deep.example.net|ann@b.example"),
        ("ann@b.example", "x@deep.example.net", ".example.net|any"),
        ("zoe@a.example", "x@notexample.net", ".net|any"),
        ("zoe@a.example", "x@net", "relay"),
        # The recipient's domain comes before the sender.
        ("ann@b.example", "x@other.net", ".net|any"),
        ("ann@b.example", "x@other.example", "any|ann@b.example"),
        ("zoe@b.example", "x@other.example", "any|@b.example"),
        ("zoe@sub.b.example", "x@other.example", "relay"),
        ("", "x@other.example", "any|<>"),
        # A rule for another sender is no rule.
        ("zoe@a.example", "x@narrow.example", "relay"),
        ("zoe@b.example", "x@narrow.example", "any|@b.example"),
        ("zoe@b.example", "x@local.example", "local.example"),
    ],
)
@pytest.mark.parametrize("table", [TABLE, TABLE[::-1]], ids=["in order", "the other way round"])
def test_the_most_specific_rule_decides(sender: str, recipient: str, rule: str, table: list[RouteRule]) -> None:
    router = Router(["local.example"], NextHop("relay"), rules=table)
    assert router.route(Envelope(sender, ()), recipient).next_hop == rule
    decided = router.rule(sender, recipient)
    told = decided.next_hop.host if decided and decided.next_hop else None
    assert told == (rule if "|" in rule else None)


@pytest.mark.parametrize(
    ("rule", "without_relayhost", "with_relayhost"),
    [
        (RouteRule(pool="bulk"), Route("remote", "far.example", pool="bulk"), relayed(login="work", pool="bulk")),
        (RouteRule(login="other"), Route("remote", "far.example"), relayed(login="other")),
        (RouteRule(direct=True, pool="bulk"), *[Route("remote", "far.example", pool="bulk")] * 2),
        (RouteRule(next_hop=NextHop("hop.example")), *[via("hop.example")] * 2),
        (RouteRule(next_hop=NextHop("hop.example", 465)), *[via("hop.example", 465, tls_wrappermode=True)] * 2),
        (RouteRule(next_hop=NextHop("hop.example", 465), tls_wrappermode=False), *[via("hop.example", 465)] * 2),
        (
            RouteRule(next_hop=NextHop("hop.example", 1465), tls_wrappermode=True),
            *[via("hop.example", 1465, tls_wrappermode=True)] * 2,
        ),
        (RouteRule(error="Gone fishing"), *[Route("error", "Gone fishing")] * 2),
    ],
)  # fmt: skip
def test_what_a_rule_does_not_say_is_as_usual(rule: RouteRule, without_relayhost: Route, with_relayhost: Route) -> None:
    assert Router([], None, rules=[rule]).route(MAIL, "bob@far.example") == without_relayhost
    assert Router([], RELAY, login="work", rules=[rule]).route(MAIL, "bob@far.example") == with_relayhost


def test_a_demand_on_tls_makes_another_route_of_each() -> None:
    router = Router(["local.example"], RELAY, rules=[RouteRule(domain="far.example", direct=True)])
    demanding = Envelope("alice@local.example", (), require_tls=True)
    for recipient in ("bob@far.example", "bob@other.example"):
        plain, special = router.route(MAIL, recipient), router.route(demanding, recipient)
        assert (plain.tls_demand, special.tls_demand) == ("", "required")
        assert plain.lane != special.lane
    assert router.route(demanding, "bob@local.example") == Route("maildir", "local.example")


def test_routes_that_differ_have_lanes_that_differ() -> None:
    routes = [
        via("a.example"),
        via("a.example", 587),
        via("a.example", 587, login="x"),
        via("a.example", 587, pool="x"),
        via("a.example", 587, tls_wrappermode=True),
    ]
    assert len({route.lane for route in routes}) == len(routes)


LABEL = st.text("abc", min_size=1, max_size=2)
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
PLACE = st.one_of(st.just(""), DOMAIN, DOMAIN.map(lambda domain: f".{domain}"))
SENDER = st.one_of(st.just(""), st.just("<>"), DOMAIN.map(lambda domain: f"@{domain}"), DOMAIN.map("ann@{}".format))


def rank(rule: RouteRule, sender: str, domain: str) -> tuple[int, int] | None:
    """How narrow a rule is, by the words of the table; None where it does not apply."""
    if rule.domain == domain:
        place = 1000
    elif rule.domain and rule.domain.startswith(".") and domain.endswith(rule.domain):
        place = len(rule.domain)
    elif not rule.domain:
        place = 0
    else:
        return None
    if not rule.sender:
        return place, 0
    if rule.sender == (sender or "<>"):
        return place, 2
    return (place, 1) if rule.sender == f"@{sender.partition('@')[2]}" and sender else None


@given(
    st.lists(st.tuples(PLACE, SENDER), max_size=12, unique=True),
    st.one_of(st.just(""), DOMAIN.map("ann@{}".format), DOMAIN.map("bob@{}".format)),
    DOMAIN,
)
def test_the_router_finds_what_the_table_says(places: list[tuple[str, str]], sender: str, domain: str) -> None:
    rules = [RouteRule(place, who, direct=True) for place, who in places]
    ranked = [(mark, rule) for rule in rules if (mark := rank(rule, sender, domain))]
    expected = max(ranked, key=lambda each: each[0])[1] if ranked else None
    assert Router([], None, rules=rules).rule(sender, f"x@{domain}") == expected


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", ""),
        ("Example.NET.", "example.net"),
        (".example.net", ".example.net"),
        ("bücher.example", "xn--bcher-kva.example"),
        (".net", ".net"),
    ],
)
def test_the_domain_of_a_rule(text: str, read: str) -> None:
    assert parse_domain(text) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", ""),
        ("<>", "<>"),
        ("@Example.org", "@example.org"),
        ("example.org", "@example.org"),
        ("Alice@bücher.example", "alice@xn--bcher-kva.example"),
        ('"odd user"@example.org', "odd user@example.org"),
    ],
)
def test_the_sender_of_a_rule(text: str, read: str) -> None:
    assert parse_sender(text) == read


@pytest.mark.parametrize("text", [".", "..net", "a b", "@example.net", "*.example.net", "x@", 7])
def test_what_is_no_domain(text: object) -> None:
    fault = parse_domain(text)
    assert isinstance(fault, Fault)
    assert fault.value == text
    assert ".example.net" in fault.remedy


@pytest.mark.parametrize("text", ["@", "alice@", "alice@-", ".example.org", "alice+x@example.org", 7])
def test_what_is_no_sender(text: object) -> None:
    fault = parse_sender(text)
    assert isinstance(fault, Fault)
    assert fault.value == text
    assert fault.remedy
