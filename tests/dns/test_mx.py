import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from tests.dns.loops import Run, both_loops
from tests.fakedns import FakeDns, Script
from valija.dns.caching import CachingResolver
from valija.dns.mx import Addresses, MxHost, MxHosts, Shuffle, find_addresses, find_mx_hosts
from valija.dns.options import DnsOptions
from valija.mail.reply import Reply

OWN_NAME = "mail.example.org"


def _reverse(hosts: list[MxHost]) -> None:
    hosts.reverse()


def _find(
    dns: FakeDns,
    domain: str,
    shuffle: Shuffle = lambda _: None,
    is_ourselves: Callable[[str], bool] = OWN_NAME.__eq__,
    run: Run[Any] = asyncio.run,
) -> MxHosts:
    found: MxHosts = run(find_mx_hosts(_resolver(dns), domain, shuffle=shuffle, is_ourselves=is_ourselves))
    return found


def _names(found: MxHosts) -> list[str]:
    assert found.refusal is None
    return [host.name for host in found.hosts]


def _refusal(found: MxHosts) -> str:
    assert found.refusal
    assert not found.hosts
    return f"{found.refusal.code} {found.refusal.enhanced}"


def _resolver(dns: FakeDns) -> CachingResolver:
    return CachingResolver(DnsOptions((dns.endpoint,), timeout=0.3), structlog.wrap_logger(None, processors=[_drop]))


def _drop(*_: object) -> Any:
    raise structlog.DropEvent


def _addresses(dns: FakeDns, host: str, run: Run[Any] = asyncio.run) -> Addresses:
    found: Addresses = run(find_addresses(_resolver(dns), host))
    return found


# Hosts


def test_hosts_come_by_preference_and_equals_are_shuffled() -> None:
    zone = {"d.example": ["MX 20 c.", "MX 10 b.", "MX 10 a.", "MX 30 d.", "MX 20 e.", "MX 5 f."]}
    with FakeDns(zone) as dns:
        found = _find(dns, "d.example")
        turned = _names(_find(dns, "d.example", _reverse))
    groups = [["f"], ["b", "a"], ["c", "e"], ["d"]]
    assert _names(found) == [name for group in groups for name in group]
    assert turned == [name for group in groups for name in reversed(group)]
    assert [host.preference for host in found.hosts] == [5, 10, 10, 20, 20, 30]


def test_chance_spreads_the_load() -> None:
    with FakeDns({"d.example": ["MX 10 a.", "MX 10 b.", "MX 10 c."]}) as dns:
        chance = random.Random(7)
        assert {_names(_find(dns, "d.example", chance.shuffle))[0] for _ in range(30)} == {"a", "b", "c"}


@both_loops
def test_without_mx_the_domain_is_its_own_host(run: Run[Any]) -> None:
    zone = {"d.example": ["A 127.0.0.2"], "d6.example": ["AAAA ::1"]}
    with FakeDns(zone) as dns:
        assert _find(dns, "d.example", run=run).hosts == (MxHost("d.example", 0, False),)
        assert _find(dns, "d6.example", run=run).hosts == (MxHost("d6.example", 0, False),)


def test_a_cname_is_followed_to_the_mx() -> None:
    with FakeDns({"alias.example": ["CNAME d.example."], "d.example": ["MX 10 mx.example."]}) as dns:
        assert _names(_find(dns, "alias.example")) == ["mx.example"]


def test_c075_a_null_mx_is_refused_at_once() -> None:
    with FakeDns({"d.example": ["MX 0 .", "A 127.0.0.2"]}) as dns:
        found = _find(dns, "d.example")
        assert _refusal(found) == "556 5.1.10"
        assert [question.rtype for question in dns.questions] == ["MX"]


def test_c075_a_null_mx_beside_others_is_left_out() -> None:
    with FakeDns(
        {"d.example": ["MX 0 .", "MX 10 real.example.", "A 127.0.0.2"], "real.example": ["A 127.0.0.3"]}
    ) as dns:
        assert _names(_find(dns, "d.example")) == ["real.example"]
        assert not dns.asked("")
        assert not dns.asked(".")


@pytest.mark.parametrize(
    ("domain", "refusal"),
    [
        ("nowhere.example", "550 5.1.2"),
        ("txt.example", "550 5.4.4"),
        ("dangling.example", "550 5.1.2"),
        ("[192.0.2.1]", "550 5.1.2"),
        ("[IPv6:::1]", "550 5.1.2"),
        ("192.0.2.1", "550 5.1.2"),
        ("odd.example", "451 4.4.4"),
        (OWN_NAME, "554 5.4.6"),
        ("ours.example", "554 5.4.6"),
        ("behind.example", "554 5.4.6"),
    ],
)
def test_refusals(domain: str, refusal: str) -> None:
    zone = {
        "txt.example": ["TXT hello"],
        "dangling.example": ["CNAME nothing.example."],
        "odd.example": ["MX 10 192.0.2.1.", "MX 10 \\@.example.", "MX 20 a\\ b.example.", "MX 30 [192\\.0\\.2\\.1]."],
        OWN_NAME: ["A 127.0.0.1"],
        "ours.example": [f"MX 10 {OWN_NAME}."],
        "behind.example": [f"MX 10 {OWN_NAME}.", "MX 10 equal.example.", "MX 20 backup.example."],
    }
    with FakeDns(zone) as dns:
        found = _find(dns, domain)
    assert _refusal(found) == refusal
    assert found.refusal
    assert domain in found.refusal.text


def test_hosts_at_or_behind_ourselves_are_dropped() -> None:
    zone = {
        "d.example": ["MX 5 near.example.", f"MX 10 {OWN_NAME.upper()}.", "MX 10 equal.example.", "MX 20 far.example."]
    }
    with FakeDns(zone) as dns:
        assert _names(_find(dns, "d.example")) == ["near.example"]


def test_nonsense_beside_good_hosts_is_left_out_and_each_name_comes_once() -> None:
    zone = {"d.example": ["MX 5 192.0.2.1.", "MX 20 mx.example.", "MX 10 MX.example.", "MX 30 b.example."]}
    with FakeDns(zone) as dns:
        found = _find(dns, "d.example")
    assert [(host.name, host.preference) for host in found.hosts] == [("mx.example", 10), ("b.example", 30)]


def test_a_flood_of_hosts_is_bounded() -> None:
    with FakeDns({"d.example": [f"MX {number} h{number}.example." for number in range(500)]}) as dns:
        assert _names(_find(dns, "d.example")) == [f"h{number}.example" for number in range(50)]


@both_loops
@pytest.mark.parametrize("script", [Script(rcode="SERVFAIL"), Script(silent=True), Script(rcode="REFUSED")])
def test_trouble_is_transient(run: Run[Any], script: Script) -> None:
    with FakeDns({"d.example": ["MX 10 mx.example."]}, default=script) as dns:
        found = _find(dns, "d.example", run=run)
    assert _refusal(found) == "451 4.4.3"


def test_trouble_with_the_addresses_of_a_domain_without_mx_is_transient() -> None:
    class AddressesFail(FakeDns):
        def _compose(self, query: Any, name: str, script: Script, transport: Any) -> bytes:
            failing = Script(rcode="SERVFAIL") if query.question[0].rdtype.name == "AAAA" else script
            return super()._compose(query, name, failing, transport)

    with AddressesFail({"d.example": ["TXT x"], "a.example": ["A 127.0.0.2"]}) as dns:
        assert _refusal(_find(dns, "d.example")) == "451 4.4.3"
        assert _names(_find(dns, "a.example")) == ["a.example"]  # one family is enough
        assert _addresses(dns, "a.example") == Addresses(("127.0.0.2",), failed=True)


def test_authenticity_goes_with_the_hosts() -> None:
    with FakeDns({"d.example": ["MX 10 mx.example."]}, default=Script(authentic=True)) as dns:
        assert _find(dns, "d.example").hosts == (MxHost("mx.example", 10, True),)


# Addresses


@both_loops
@pytest.mark.parametrize(
    ("records", "addresses"),
    [
        (["A 127.0.0.1"], ("127.0.0.1",)),
        (["AAAA 2001:DB8::1"], ("2001:db8::1",)),
        (["A 127.0.0.1", "AAAA 2001:db8::1"], ("2001:db8::1", "127.0.0.1")),
        (
            ["A 192.0.2.1", "A 192.0.2.2", "A 192.0.2.3", "AAAA 2001:db8::1"],
            ("2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"),
        ),
        (
            ["A 192.0.2.1", "AAAA 2001:db8::1", "AAAA 2001:db8::2"],
            ("2001:db8::1", "192.0.2.1", "2001:db8::2"),
        ),
        (["AAAA fe80::1", "AAAA ::", "AAAA ff02::1", "A 0.0.0.0", "A 169.254.1.1", "A 224.0.0.1"], ()),
        (["AAAA fe80::1", "A 127.0.0.1"], ("127.0.0.1",)),
        (["AAAA ::ffff:192.0.2.1", "A 192.0.2.1"], ("192.0.2.1",)),
        (["TXT x"], ()),
    ],
)
def test_c078_both_families_by_turns(run: Run[Any], records: list[str], addresses: tuple[str, ...]) -> None:
    with FakeDns({"mx.example": records}) as dns:
        assert _addresses(dns, "mx.example", run) == Addresses(addresses)


@pytest.mark.parametrize(
    ("records", "nowhere"),
    [
        (["A 0.0.0.0"], True),
        (["A 0.0.0.0", "AAAA ::"], True),
        (["AAAA ::ffff:0.0.0.0"], True),
        (["A 0.0.0.0", "A 192.0.2.1"], False),
        (["A 0.0.0.0", "AAAA fe80::1"], False),
        (["A 169.254.1.1"], False),
        (["TXT x"], False),
    ],
)
def test_unspecified_addresses_alone_are_nowhere(records: list[str], nowhere: bool) -> None:
    with FakeDns({"mx.example": records}) as dns:
        assert _addresses(dns, "mx.example").nowhere is nowhere


def test_both_families_are_asked_for_at_once() -> None:
    with FakeDns({"mx.example": ["A 127.0.0.1", "AAAA ::1"]}, default=Script(held=True)) as dns:

        async def main() -> Addresses:
            finding = asyncio.create_task(find_addresses(_resolver(dns), "mx.example"))
            await asyncio.to_thread(dns.wait_for, lambda: dns.asked("mx.example") == 2)
            dns.release()
            return await finding

        assert asyncio.run(main()).addresses == ("::1", "127.0.0.1")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_address_is_itself_and_not_asked_for(address: str) -> None:
    with FakeDns() as dns:
        assert _addresses(dns, address).addresses == (address,)
        assert not dns.questions


def test_a_host_without_addresses_and_one_that_is_not_there() -> None:
    with FakeDns({"x.mx.example": ["A 127.0.0.1"]}) as dns:
        assert _addresses(dns, "mx.example") == Addresses()
        assert _addresses(dns, "nowhere.example") == Addresses()


def test_no_answer_is_told_from_no_address() -> None:
    with FakeDns(default=Script(rcode="SERVFAIL")) as dns:
        assert _addresses(dns, "mx.example") == Addresses(failed=True)


def test_addresses_are_authentic_only_together() -> None:
    zone = {"mx.example": ["A 127.0.0.1", "AAAA ::1"], "mx4.example": ["A 127.0.0.1"]}
    with FakeDns(zone, default=Script(authentic=True)) as dns:
        assert _addresses(dns, "mx.example").authentic
        assert _addresses(dns, "mx4.example").authentic
        dns.default = Script()
        assert not _addresses(dns, "mx.example").authentic


def test_the_words_of_a_refusal_stay_on_one_line() -> None:
    with FakeDns(default=Script(rcode="SERVFAIL")) as dns:
        found = _find(dns, "d.example")
    assert isinstance(found.refusal, Reply)
    assert found.refusal.encode().count(b"\r\n") == 1
