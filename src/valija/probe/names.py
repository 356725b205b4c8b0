"""What the server calls itself, and whether the DNS and its certificate agree.

probe_names(target, seen, Names(reverse=("mx.example.net",), addresses=("192.0.2.1",)))
"""

import ipaddress
from collections.abc import Iterator

import msgspec
from cryptography import x509

from valija.probe.judgement import Judgement, Question
from valija.probe.seen import Seen
from valija.probe.target import Target
from valija.tls.pair import covers, names_of


class Names(msgspec.Struct, frozen=True):
    """What the DNS says: names of the server's address, and addresses of its name. None where it did not answer."""

    reverse: tuple[str, ...] | None = None
    addresses: tuple[str, ...] | None = None


def probe_names(target: Target, seen: Seen, names: Names) -> Iterator[Judgement]:
    """Yield the judgements for the port where servers hand over mail."""
    yield judge_hello(Question("smtp-name", "a full name in the reply to EHLO", seen.port), seen)
    yield judge_certificate(Question("smtp-name-certificate", "the certificate is for that name too", seen.port), seen)
    address = Question("smtp-name-address", "that name leads back to the server", seen.port)
    reverse = Question("smtp-reverse-name", "the server's address has a name", seen.port)
    if not ipaddress.ip_address(target.address.partition("%")[0]).is_global:
        why = f"{target.address} is no public address"
        yield from (address.not_tested(why), reverse.not_tested(why))
        return
    yield judge_address(address, target, seen, names)
    yield judge_reverse(reverse, names)


def judge_hello(test: Question, seen: Seen) -> Judgement:
    """RFC 5321 section 4.1.1.1 wants a full name."""
    evidence = (seen.banner, f"it calls itself {seen.name or 'nothing with a dot'}")
    remedy = "set its name: myhostname in Postfix, hostname in valija"
    return test.good(evidence) if seen.name else test.warning(evidence, remedy)


def judge_certificate(test: Question, seen: Seen) -> Judgement:
    """Whoever verifies goes by the MX's name, which is mostly this one."""
    if not seen.certificate or not seen.name:
        return test.not_tested(seen.fault or "it has no certificate, or no name")
    try:
        names = names_of(x509.load_der_x509_certificate(seen.certificate))
    except ValueError as fault:
        return test.unknown((str(fault),))
    evidence = (f"it calls itself {seen.name}, and the certificate is for {', '.join(names[:5]) or 'no name'}",)
    is_covered = any(covers(each, seen.name) for each in names)
    return (
        test.good(evidence) if is_covered else test.warning(evidence, f"have the certificate made for {seen.name} too")
    )


def judge_address(test: Question, target: Target, seen: Seen, names: Names) -> Judgement:
    """Whether the name it gives is its own."""
    if not seen.name:
        return test.not_tested("it gives no name")
    if names.addresses is None:
        return test.unknown((f"the DNS does not answer for {seen.name}",))
    evidence = (f"{seen.name} has {', '.join(names.addresses) or 'no address'}",)
    is_its_own = target.address in names.addresses
    return test.good(evidence) if is_its_own else test.warning(evidence, f"let {seen.name} lead to {target.address}")


def judge_reverse(test: Question, names: Names) -> Judgement:
    """Others refuse mail from an address without a name."""
    if names.reverse is None:
        return test.unknown(("the DNS does not answer",))
    if names.reverse:
        return test.good((", ".join(names.reverse),))
    return test.warning(("none",), "have whoever gave out the address publish a name for it")
