import asyncio
import os
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from tests.dns.loops import Run, both_loops
from tests.fakedns import FakeDns, Script
from valija.dns.caching import FAILURE_TTL, CachingResolver
from valija.dns.options import DnsOptions
from valija.dns.resolver import Answer, MxRecord, RecordType, Status
from valija.mail.endpoint import Endpoint

ZONE = {
    "remote.example": ["MX 10 MX1.Remote.Example.", "5 MX 20 mx2.remote.example.", 'TXT "v=spf1 " "-all"'],
    "mx1.remote.example": ["60 A 127.0.0.2", "60 A 127.0.0.3", "AAAA 2001:DB8::1"],
    "alias.example": ["30 CNAME mx1.remote.example."],
    "alias2.example": ["CNAME alias.example."],
    "dangling.example": ["CNAME nowhere.example."],
    "circle.example": ["CNAME circle2.example."],
    "circle2.example": ["CNAME circle.example."],
    "_25._tcp.mx1.remote.example": ["TLSA 3 1 1 " + "AB" * 32],
    "2.0.0.127.in-addr.arpa": ["PTR MX1.remote.example."],
    "big.example": [f'TXT "{number} {"x" * 200}"' for number in range(40)],
    "null.example": ["MX 0 ."],
    "never.example": ["0 A 127.0.0.9"],
}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _resolver(*servers: FakeDns | Endpoint, clock: Clock | None = None, **options: Any) -> CachingResolver:
    endpoints = tuple(server.endpoint if isinstance(server, FakeDns) else server for server in servers)
    settings = DnsOptions(nameservers=endpoints, **{"timeout": 10.0, **options})
    return CachingResolver(settings, _log(), clock=clock or Clock())


def _log(capture: LogCapture | None = None) -> Any:
    logger = structlog.wrap_logger(None, processors=[capture or LogCapture()])
    return logger.bind()


async def _closing(resolver: CachingResolver, *lookups: Coroutine[Any, Any, Any]) -> list[Any]:
    try:
        return [await lookup for lookup in lookups]
    finally:
        await resolver.close()


def _lookup(run: Run[Any], resolver: CachingResolver, name: str, rtype: RecordType) -> Answer[Any]:
    # The overloads want a literal; tables have a variable.
    lookup: Any = resolver.lookup
    answer: Answer[Any] = run(_closing(resolver, lookup(name, rtype)))[0]
    return answer


@both_loops
@pytest.mark.parametrize(
    ("name", "rtype", "status", "records", "canonical"),
    [
        ("remote.example", "MX", Status.FOUND,
         {MxRecord(10, "mx1.remote.example"), MxRecord(20, "mx2.remote.example")}, "remote.example"),
        ("REMOTE.example.", "TXT", Status.FOUND, {"v=spf1 -all"}, "remote.example"),
        ("mx1.remote.example", "A", Status.FOUND, {"127.0.0.2", "127.0.0.3"}, "mx1.remote.example"),
        ("mx1.remote.example", "AAAA", Status.FOUND, {"2001:db8::1"}, "mx1.remote.example"),
        ("alias2.example", "A", Status.FOUND, {"127.0.0.2", "127.0.0.3"}, "mx1.remote.example"),
        ("alias.example", "CNAME", Status.FOUND, {"mx1.remote.example"}, "alias.example"),
        ("alias.example", "MX", Status.NO_DATA, set(), "mx1.remote.example"),
        ("_25._tcp.mx1.remote.example", "TLSA", Status.FOUND, {"3 1 1 " + "ab" * 32}, "_25._tcp.mx1.remote.example"),
        ("2.0.0.127.in-addr.arpa", "PTR", Status.FOUND, {"mx1.remote.example"}, "2.0.0.127.in-addr.arpa"),
        ("null.example", "MX", Status.FOUND, {MxRecord(0, "")}, "null.example"),
        ("remote.example", "A", Status.NO_DATA, set(), "remote.example"),
        ("_tcp.mx1.remote.example", "A", Status.NO_DATA, set(), "_tcp.mx1.remote.example"),
        ("nowhere.example", "MX", Status.NO_DOMAIN, set(), "nowhere.example"),
        ("dangling.example", "A", Status.NO_DOMAIN, set(), "nowhere.example"),
        ("circle.example", "A", Status.FAILED, set(), ""),
    ],
)  # fmt: skip
def test_answers(
    run: Run[Any], name: str, rtype: RecordType, status: Status, records: set[Any], canonical: str
) -> None:
    with FakeDns(ZONE) as dns:
        answer = _lookup(run, _resolver(dns), name, rtype)
    assert (answer.status, set(answer.records), answer.canonical_name) == (status, records, canonical)
    assert not answer.authentic


@pytest.mark.parametrize(
    "name", ["", ".", "@", "a..b", "x" * 64 + ".example", "a@b.example", "a\\.b", ("x" * 60 + ".") * 5]
)
def test_what_is_no_name_is_not_asked_for(name: str) -> None:
    with FakeDns(ZONE) as dns:
        answer = _lookup(asyncio.run, _resolver(dns), name, "A")
    assert answer.status is Status.NO_DOMAIN
    assert not dns.questions


@both_loops
def test_over_ipv6(run: Run[Any]) -> None:
    with FakeDns(ZONE, host="::1") as dns:
        answer = _lookup(run, _resolver(dns), "mx1.remote.example", "AAAA")
        big = _lookup(run, _resolver(dns), "big.example", "TXT")
    assert answer.records == ("2001:db8::1",)
    assert len(big.records) == 40


# Time


@both_loops
def test_an_answer_is_kept_for_its_ttl(run: Run[Any]) -> None:
    clock = Clock()
    with FakeDns(ZONE) as dns:
        resolver = _resolver(dns, clock=clock)

        async def main() -> None:
            for _ in range(3):
                await resolver.lookup("alias.example", "A")
            assert dns.asked("alias.example") == 1
            clock.now += 29.9  # the CNAME's TTL is the shortest of the chain
            await resolver.lookup("ALIAS.example.", "A")
            assert dns.asked("alias.example") == 1
            clock.now += 0.2
            await resolver.lookup("alias.example", "A")
            assert dns.asked("alias.example") == 2
            await resolver.lookup("alias.example", "AAAA")
            assert dns.asked("alias.example") == 3

        run(main())


@pytest.mark.parametrize("name", ["nowhere.example", "remote.example"])
def test_a_negative_answer_is_kept_for_the_soa_s_minimum(name: str) -> None:
    clock = Clock()
    with FakeDns(ZONE, negative_ttl=60) as dns:
        resolver = _resolver(dns, clock=clock)

        async def main() -> None:
            await resolver.lookup(name, "A")
            clock.now += 59.9
            await resolver.lookup(name, "A")
            assert dns.asked(name) == 1
            dns.publish(name, ["A 127.0.0.4"])
            clock.now += 0.2
            assert (await resolver.lookup(name, "A")).records == ("127.0.0.4",)

        asyncio.run(main())


def test_a_failure_is_kept_for_a_few_seconds() -> None:
    clock = Clock()
    with FakeDns(ZONE, default=Script(rcode="SERVFAIL")) as dns:
        resolver = _resolver(dns, clock=clock)

        async def main() -> None:
            for _ in range(3):
                assert (await resolver.lookup("mx1.remote.example", "A")).status is Status.FAILED
            assert dns.asked("mx1.remote.example") == 1
            dns.default = Script()
            clock.now += FAILURE_TTL + 0.1
            assert (await resolver.lookup("mx1.remote.example", "A")).status is Status.FOUND

        asyncio.run(main())


def test_a_ttl_of_zero_is_honoured() -> None:
    with FakeDns(ZONE) as dns:
        resolver = _resolver(dns)
        asyncio.run(_closing(resolver, *(resolver.lookup("never.example", "A") for _ in range(3))))
    assert dns.asked("never.example") == 3


def test_the_cache_is_bounded() -> None:
    with FakeDns({"*.many.example": ["A 127.0.0.1"]}) as dns:
        resolver = _resolver(dns, cache_size=10)
        asyncio.run(_closing(resolver, *(resolver.lookup(f"n{number}.many.example", "A") for number in range(30))))
        assert len(resolver._cache) == 10
        asyncio.run(_closing(resolver, resolver.lookup("n29.many.example", "A")))
        assert dns.asked("n29.many.example") == 1


# In flight


@both_loops
def test_equal_look_ups_in_flight_are_merged(run: Run[Any]) -> None:
    with FakeDns(ZONE) as dns:
        dns.script("mx1.remote.example", Script(held=True))
        resolver = _resolver(dns)

        async def main() -> None:
            waiting = [asyncio.create_task(resolver.lookup("mx1.remote.example", "A")) for _ in range(50)]
            await asyncio.to_thread(dns.wait_for, lambda: dns.asked("mx1.remote.example") == 1)
            dns.release()
            answers = await asyncio.gather(*waiting)
            assert {answer.status for answer in answers} == {Status.FOUND}

        run(main())
    assert dns.asked("mx1.remote.example") == 1


@both_loops
def test_a_caller_that_gives_up_does_not_end_the_look_up_of_others(run: Run[Any]) -> None:
    with FakeDns(ZONE) as dns:
        dns.script("mx1.remote.example", Script(held=True))
        resolver = _resolver(dns)

        async def main() -> None:
            first = asyncio.create_task(resolver.lookup("mx1.remote.example", "A"))
            second = asyncio.create_task(resolver.lookup("mx1.remote.example", "A"))
            await asyncio.to_thread(dns.wait_for, lambda: dns.asked("mx1.remote.example") == 1)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            dns.release()
            assert (await second).status is Status.FOUND

        run(main())


@both_loops
def test_closing_ends_what_is_in_flight(run: Run[Any]) -> None:
    with FakeDns(ZONE, default=Script(silent=True)) as dns:
        resolver = _resolver(dns, timeout=60.0)

        async def main() -> None:
            waiting = asyncio.create_task(resolver.lookup("mx1.remote.example", "A"))
            await asyncio.to_thread(dns.wait_for, lambda: bool(dns.questions))
            await resolver.close()
            with pytest.raises(asyncio.CancelledError):
                await waiting

        run(asyncio.wait_for(main(), 10))


@both_loops
def test_a_burst_of_names(run: Run[Any]) -> None:
    with FakeDns({"*.many.example": ["A 127.0.0.1"]}) as dns:
        resolver = _resolver(dns)

        async def main() -> set[Status]:
            names = [f"n{number}.many.example" for number in range(500)]
            answers = await asyncio.gather(*(resolver.lookup(name, "A") for name in names))
            return {answer.status for answer in answers}

        assert run(main()) == {Status.FOUND}


# Transports and trouble


@both_loops
def test_a_long_answer_comes_over_tcp(run: Run[Any]) -> None:
    with FakeDns(ZONE) as dns:
        answer = _lookup(run, _resolver(dns), "big.example", "TXT")
    assert len(answer.records) == 40
    assert [question.transport for question in dns.questions] == ["udp", "tcp"]


@both_loops
def test_truncation_leads_to_tcp(run: Run[Any]) -> None:
    with FakeDns(ZONE, default=Script(truncated=True)) as dns:
        assert _lookup(run, _resolver(dns), "mx1.remote.example", "AAAA").records == ("2001:db8::1",)
    assert dns.asked("mx1.remote.example", transport="tcp") == 1


@both_loops
def test_garbage_and_forgeries_are_ignored(run: Run[Any]) -> None:
    with FakeDns(ZONE, default=Script(garbage=True)) as dns:
        answer = _lookup(run, _resolver(dns), "mx1.remote.example", "A")
    assert set(answer.records) == {"127.0.0.2", "127.0.0.3"}


@both_loops
def test_a_server_that_knows_no_edns_is_asked_without(run: Run[Any]) -> None:
    with FakeDns(ZONE, default=Script(without_edns=True)) as dns:
        assert _lookup(run, _resolver(dns), "mx1.remote.example", "AAAA").status is Status.FOUND


@both_loops
def test_a_cname_that_the_server_does_not_follow_is_followed(run: Run[Any]) -> None:
    with FakeDns(ZONE, default=Script(bare_cname=True, authentic=True)) as dns:
        dns.script("mx1.remote.example", Script())  # the end of the chain is not signed
        answer = _lookup(run, _resolver(dns), "alias2.example", "A")
        assert set(answer.records) == {"127.0.0.2", "127.0.0.3"}
        assert answer.canonical_name == "mx1.remote.example"
        assert not answer.authentic
        circle = _lookup(run, _resolver(dns), "circle.example", "A")
    assert circle.status is Status.FAILED
    assert "CNAMEs" in circle.detail
    assert dns.asked("circle.example") <= 8


@both_loops
@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTAUTH"])
def test_what_the_server_cannot_tell_is_transient(run: Run[Any], rcode: str) -> None:
    with FakeDns(ZONE, default=Script(rcode=rcode)) as dns:
        answer = _lookup(run, _resolver(dns), "mx1.remote.example", "A")
    assert answer.status is Status.FAILED
    assert rcode in answer.detail
    assert dns.nameserver in answer.detail


@both_loops
def test_a_silent_server_is_tried_three_times(run: Run[Any]) -> None:
    with FakeDns(ZONE, default=Script(silent=True)) as dns:
        answer = _lookup(run, _resolver(dns, timeout=0.05), "mx1.remote.example", "A")
        dns.wait_for(lambda: len(dns.questions) == 3)
    assert answer.status is Status.FAILED
    assert "no answer in 0.05 s" in answer.detail


@both_loops
def test_a_question_that_got_lost_is_sent_again_before_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch, run: Run[Any]
) -> None:
    monkeypatch.setattr("valija.dns.exchange.RESEND_AFTER", 0.02)
    with FakeDns(ZONE, default=Script(loses=2)) as dns:
        answer = _lookup(run, _resolver(dns, timeout=60.0), "mx1.remote.example", "A")
    assert answer.status is Status.FOUND
    assert dns.asked("mx1.remote.example") >= 3


@both_loops
def test_a_closed_port_is_told_at_once(run: Run[Any]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        endpoint = Endpoint("127.0.0.1", holder.getsockname()[1])
        holder.connect(("127.0.0.1", 9))  # what another sends to it is refused
        resolver = _resolver(endpoint, timeout=600.0)
        answer = run(asyncio.wait_for(_closing(resolver, resolver.lookup("mx1.remote.example", "A")), 30))[0]
    assert answer.status is Status.FAILED
    assert "refused" in answer.detail


@both_loops
@pytest.mark.parametrize("trouble", [Script(rcode="SERVFAIL"), Script(rcode="REFUSED"), Script(silent=True)])
def test_the_next_server_is_asked(run: Run[Any], trouble: Script) -> None:
    with FakeDns(ZONE, default=trouble) as broken, FakeDns(ZONE) as good:
        resolver = _resolver(broken, good, timeout=0.5)
        assert _lookup(run, resolver, "mx1.remote.example", "A").status is Status.FOUND
        assert len(broken.questions) == 1


def test_a_silent_server_is_asked_last_for_a_while() -> None:
    clock = Clock()
    capture = LogCapture()
    with FakeDns(ZONE, default=Script(silent=True)) as silent, FakeDns(ZONE) as good:
        options = DnsOptions(nameservers=(silent.endpoint, good.endpoint), timeout=0.2)
        resolver = CachingResolver(options, _log(capture), clock=clock)

        async def main() -> None:
            await resolver.lookup("mx1.remote.example", "A")
            await resolver.lookup("mx1.remote.example", "AAAA")
            assert len(silent.questions) == 1
            clock.now += 31.0
            silent.default = Script()
            await resolver.lookup("remote.example", "MX")
            assert len(silent.questions) == 2

        asyncio.run(main())
    assert [entry["server"] for entry in capture.entries if entry["log_level"] == "warning"] == [silent.nameserver]


def test_a_fault_of_our_own_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr("valija.dns.caching.read_reply", broken)
    with FakeDns(ZONE) as dns:
        answer = _lookup(asyncio.run, _resolver(dns), "mx1.remote.example", "A")
    assert answer.status is Status.FAILED
    assert "bug" in answer.detail


# DNSSEC


@both_loops
@pytest.mark.parametrize("name", ["mx1.remote.example", "alias2.example", "nowhere.example"])
def test_a_loopback_server_is_believed(run: Run[Any], name: str) -> None:
    with FakeDns(ZONE, default=Script(authentic=True)) as dns:
        assert _lookup(run, _resolver(dns), name, "A").authentic
        plain = Script()
        dns.default = plain
        assert not _lookup(run, _resolver(dns), name, "A").authentic


@pytest.mark.parametrize(("trust_ad", "authentic"), [(False, False), (True, True)])
def test_a_server_elsewhere_is_believed_only_when_told_so(
    monkeypatch: pytest.MonkeyPatch, trust_ad: bool, authentic: bool
) -> None:
    class Elsewhere:
        is_loopback = False

    monkeypatch.setattr("valija.dns.caching.ip_address", lambda _: Elsewhere())
    with FakeDns(ZONE, default=Script(authentic=True)) as dns:
        answer = _lookup(asyncio.run, _resolver(dns, trust_ad=trust_ad), "mx1.remote.example", "A")
    assert answer.status is Status.FOUND
    assert answer.authentic is authentic


# The system's servers


def test_the_system_s_servers_are_read_again_when_they_change(tmp_path: Path) -> None:
    resolv_conf = tmp_path / "resolv.conf"
    with FakeDns(ZONE) as first, FakeDns({"mx1.remote.example": ["A 127.0.0.8"]}) as second:
        resolv_conf.write_text(f"# a comment\nsearch example\nnameserver {first.nameserver}\noptions trust-ad\n")
        resolver = CachingResolver(DnsOptions(), _log(), clock=Clock(), resolv_conf=resolv_conf)

        async def main() -> None:
            assert len((await resolver.lookup("mx1.remote.example", "A")).records) == 2
            fresh = tmp_path / "new"
            fresh.write_text(f"nameserver {second.nameserver}\n")
            os.replace(fresh, resolv_conf)
            assert (await resolver.lookup("other.example", "A")).status is Status.NO_DOMAIN
            assert second.asked("other.example") == 1
            assert (await resolver.lookup("mx1.remote.example", "A")).records == ("127.0.0.8",)

        asyncio.run(main())
