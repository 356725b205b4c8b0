"""The proof that the relay is closed: every address there is, asked of the very function that the server asks.

    proof = prove(facts, ("smtpd", "submission"))
    proof.is_closed                       # True
    proof.stretches
    # (..., Stretch("smtpd", "127.0.0.0", "127.255.255.255", "mynetworks 127.0.0.0/8"), ...)
    answers_for("203.0.113.9", ("smtpd",), facts)
    # (Answer("smtpd", login=False, hosted="hosted example.org", elsewhere="", refusal="554 5.7.1 ... denied"),)

What `decide` answers depends on a client's address only by the ranges and exceptions of `mynetworks`. Their ends cut
the IPv4 and the IPv6 addresses into pieces (IPv4-mapped ones stand for IPv4 ones, and are cut like them); within a
piece all addresses get the same answer, so that the two ends of each piece answer for all of it. The relay is closed
when all of this holds:

- without a login nobody may send anywhere else by a listener, but from ranges that one site may have (policy/ranges);
- neither a gateway, behind which strangers hide, nor a client whose address is unknown may;
- on `smtpd` a login changes nothing;
- no roundabout way of writing a recipient (percent hack, source route, bang path, ...) gets a stranger further.

Known weakness: a proxy or a tunnel inside a trusted range, which passes strangers on, is not to be seen from here.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, summarize_address_range
from itertools import groupby, pairwise
from typing import Final

import msgspec

from valija.mail.origin import Role
from valija.policy.networks import Address, parse_address
from valija.policy.ranges import MAPPED, Network, openness
from valija.policy.relay import POSTMASTER, Allowed, RelayFacts, decide
from valija.smtp.rules import ServerRules

_LAST: Final = {4: 2**32 - 1, 6: 2**128 - 1}
_FIRST_MAPPED: Final = int(MAPPED.network_address)
_SHOWN: Final = 3  # hosted domains that the table names
_OUTSIDE: Final = "outside.invalid"  # the sample of a foreign domain; no domain can have that name (RFC 2606)

# Ways to write a foreign recipient so that it looks like a hosted one, and back; {} is a hosted domain (C062).
_ROUNDABOUT: Final = (
    "someone%outside.invalid@{}",
    '"someone@outside.invalid"@{}',
    '"someone%outside.invalid"',
    "outside.invalid!someone@{}",
    "@{}:someone@outside.invalid",
    "someone@outside.invalid@{}",
    "someone@{}@outside.invalid",
    "someone@sub.{}",
    "someone@[127.0.0.1]",
    "someone@[IPv6:::1]",
    "someone@127.0.0.1",
    "someone@localhost",
)


class Answer(msgspec.Struct, frozen=True):
    """What one client may do on one listener, without or with a login.

    `hosted` and `elsewhere` are the rules by which it may send to hosted domains and to all others, `""` where it may
    not; `refusal` is the reply it gets then.
    """

    listener: Role
    login: bool
    hosted: str
    elsewhere: str
    refusal: str = ""


class Stretch(msgspec.Struct, frozen=True):
    """Neighbouring addresses, from `first` to `last`, that all may relay without a login by one rule, or not (`""`)."""

    listener: Role
    first: str
    last: str
    rule: str = ""


class Proof(msgspec.Struct, frozen=True):
    """The stretches of all addresses, for each listener, in order; how many pieces they were judged by; the leaks."""

    stretches: tuple[Stretch, ...]
    pieces: int
    leaks: tuple[str, ...] = ()

    @property
    def is_closed(self) -> bool:
        """Whether nobody outside can relay without a login."""
        return not self.leaks


class Grant(msgspec.Struct, frozen=True):
    """A line of the table of who may send where. `clients` are ranges; `login`: none, or a user's."""

    listener: Role
    clients: str
    login: str
    may_send_to: str
    rule: str = ""


def answers_for(client_address: str, listeners: Iterable[Role], facts: RelayFacts) -> tuple[Answer, ...]:
    """Return what a client may do on each listener, without a login, and with one where a listener takes logins."""
    return tuple(
        _answer(role, client_address, login, facts)
        for role in listeners
        for login in ((False, True) if takes_logins(role) else (False,))
    )


def takes_logins(role: Role) -> bool:
    """Whether users log in on a listener of this role, as its machine is told."""
    return ServerRules("", role).takes_logins


def _answer(role: Role, client_address: str, login: bool, facts: RelayFacts) -> Answer:
    user = f"user@{facts.postmaster_domain}" if login else ""
    hosted = decide(role, client_address, user, f"{POSTMASTER}@{facts.postmaster_domain}", facts)
    elsewhere = decide(role, client_address, user, f"someone@{_OUTSIDE}", facts)
    return Answer(
        role,
        login,
        hosted.rule if isinstance(hosted, Allowed) else "",
        elsewhere.rule if isinstance(elsewhere, Allowed) else "",
        "" if isinstance(elsewhere, Allowed) else str(elsewhere),
    )


def prove(
    facts: RelayFacts, listeners: Sequence[Role], *, gateways: Sequence[str] = (), landmarks: Sequence[str] = ()
) -> Proof:
    """Judge every address on every listener. `gateways` and `landmarks` (own addresses) are judged one by one too."""
    apart = (*gateways, *landmarks)
    pieces = [*_pieces(4, facts, apart), *_pieces(6, facts, apart)]
    stretches: list[Stretch] = []
    leaks: list[str] = []
    for role in listeners:
        rules = [_rule_of_piece(role, piece, facts, leaks) for piece in pieces]
        mine = list(_merged(role, pieces, rules))
        leaks += _open_ranges(role, mine, facts)
        leaks += _hidden_strangers(role, gateways, facts)
        leaks += _roundabout_leaks(role, mine, facts)
        stretches += mine
    return Proof(tuple(stretches), len(pieces), tuple(dict.fromkeys(leaks)))


# The pieces: first and last address of each


Piece = tuple[Address, Address]


def _pieces(version: int, facts: RelayFacts, apart: Iterable[str]) -> Iterator[Piece]:
    make = IPv4Address if version == 4 else IPv6Address
    cuts = sorted({0, _LAST[version] + 1, *_cuts(version, facts, apart)})
    for start, end in pairwise(cuts):
        yield make(start), make(end - 1)


def _cuts(version: int, facts: RelayFacts, apart: Iterable[str]) -> Iterator[int]:
    """Yield where something begins that may get another answer than its neighbours."""
    for network, _ in facts.networks.ranges:
        yield from _ends(version, network.network_address, network.broadcast_address)
    for text in (*facts.networks.exceptions, *apart):
        if address := parse_address(text):
            yield from _ends(version, address, address)
    if version == 6:
        yield from (_FIRST_MAPPED, _FIRST_MAPPED + 2**32)


def _ends(version: int, first: Address, last: Address) -> tuple[int, ...]:
    if first.version == version:
        return int(first), int(last) + 1
    return (_FIRST_MAPPED + int(first), _FIRST_MAPPED + int(last) + 1) if version == 6 else ()


def _rule_of_piece(role: Role, piece: Piece, facts: RelayFacts, leaks: list[str]) -> str:
    """Return the rule by which all of a piece may relay without a login; what must not be is added to `leaks`."""
    first, last = (_answer(role, str(address), False, facts).elsewhere for address in piece)
    if first != last:
        leaks.append(f"{role}: {written(*piece)} is not judged alike")
    if not takes_logins(role) and _answer(role, str(piece[0]), True, facts).elsewhere != first:
        leaks.append(f"{role}: a login counts from {piece[0]}, where none is offered")
    return first or last


def _merged(role: Role, pieces: Sequence[Piece], rules: Sequence[str]) -> Iterator[Stretch]:
    """Yield neighbours of one family (IPv4, IPv6, IPv4-mapped) and one rule as one."""
    for (_, _, rule), group in groupby(
        zip(pieces, rules, strict=True), key=lambda pair: (pair[0][0].version, pair[0][0] in MAPPED, pair[1])
    ):
        alike = [piece for piece, _ in group]
        yield Stretch(role, str(alike[0][0]), str(alike[-1][1]), rule)


# What would be a leak


def _open_ranges(role: Role, stretches: Iterable[Stretch], facts: RelayFacts) -> Iterator[str]:
    """Yield what is wider than one site's range, of the addresses that may relay without a login."""
    for first, last in _trusted_runs(stretches, facts):
        if reason := next(filter(None, map(openness, _networks(first, last))), ""):
            yield f"{role}: anybody in {written(first, last)} may relay without a login: {reason}"


def _trusted_runs(stretches: Iterable[Stretch], facts: RelayFacts) -> list[Piece]:
    """Return neighbouring trusted addresses as one; a gateway that was taken out makes a range no narrower."""
    runs: list[Piece] = []
    exceptions = {parse_address(text) for text in facts.networks.exceptions}
    for stretch in stretches:
        first, last = _addresses(stretch)
        is_next = bool(runs) and runs[-1][1].version == first.version and int(runs[-1][1]) + 1 == int(first)
        if is_next and (stretch.rule or _are_all_in(exceptions, first, last)):
            runs[-1] = runs[-1][0], last
        elif stretch.rule:
            runs.append((first, last))
    return runs


def _are_all_in(exceptions: Collection[Address | None], first: Address, last: Address) -> bool:
    span = range(int(first), int(last) + 1)
    # Compared by their ends first: a stretch is as long as the internet, and nobody has as many gateways.
    return int(last) - int(first) < len(exceptions) and all(type(first)(number) in exceptions for number in span)


def _hidden_strangers(role: Role, gateways: Iterable[str], facts: RelayFacts) -> Iterator[str]:
    if _answer(role, "", False, facts).elsewhere:
        yield f"{role}: a client whose address is unknown may relay without a login"
    for gateway in gateways:
        address = parse_address(gateway)
        if address and not address.is_loopback and _answer(role, gateway, False, facts).elsewhere:
            yield f"{role}: whoever hides behind the gateway {gateway} may relay without a login"


def _addresses(stretch: Stretch) -> Piece:
    """Return a stretch's ends; those of IPv4-mapped addresses as the IPv4 ones they stand for."""
    first, last = parse_address(stretch.first), parse_address(stretch.last)
    assert first is not None
    assert last is not None
    return first, last


def _networks(first: Address, last: Address) -> list[Network]:
    return list(summarize_address_range(first, last))


def _roundabout_leaks(role: Role, stretches: Iterable[Stretch], facts: RelayFacts) -> Iterator[str]:
    """Yield the ways round that a stranger finds where no mailbox exists; one of each untrusted stretch tries."""
    deserted = msgspec.structs.replace(facts, recipient_exists=lambda _: False)
    for stretch in stretches:
        for form in () if stretch.rule else _ROUNDABOUT:
            recipient = form.replace("{}", facts.postmaster_domain)
            if isinstance(decide(role, stretch.first, "", recipient, deserted), Allowed):
                yield f"{role}: a stranger may send to <{recipient}>"


# In words


def written(first: Address, last: Address) -> str:
    """Return a range of addresses as people write it: one address, a range with its length, or first and last."""
    networks = _networks(first, last)
    if len(networks) > 1:
        return f"{first} to {last}"
    return str(first) if first == last else str(networks[0])


def grants(proof: Proof, listeners: Iterable[Role], facts: RelayFacts) -> Iterator[Grant]:
    """Yield who may send where on each listener, all others last: the table that people read.

    IPv4-mapped addresses are left out: they are the IPv4 ones.
    """
    for role in listeners:
        mine = [stretch for stretch in proof.stretches if stretch.listener == role and not _is_mapped(stretch)]
        rules = list(dict.fromkeys(stretch.rule for stretch in mine if stretch.rule))
        for rule in rules:
            yield Grant(role, _clients(mine, rule, facts), "none", "anywhere", rule)
        for answer in answers_for("", (role,), facts):
            others = "all others" if rules else "all"
            yield Grant(role, others, "a user's" if answer.login else "none", *_reach(answer, facts))


def _is_mapped(stretch: Stretch) -> bool:
    return ":" in stretch.first and IPv6Address(stretch.first) in MAPPED


def _clients(stretches: Iterable[Stretch], rule: str, facts: RelayFacts) -> str:
    """Return in words who is trusted by a rule, and which gateways in between are not."""
    only = [stretch if stretch.rule == rule else msgspec.structs.replace(stretch, rule="") for stretch in stretches]
    return ", ".join(_with_gaps(run, facts) for run in _trusted_runs(only, facts))


def _with_gaps(run: Piece, facts: RelayFacts) -> str:
    exceptions = [address for text in facts.networks.exceptions if (address := parse_address(text))]
    gaps = " and ".join(str(address) for address in exceptions if _lies_in(address, run))
    return f"{written(*run)} without {gaps}" if gaps else written(*run)


def _lies_in(address: Address, run: Piece) -> bool:
    return address.version == run[0].version and int(run[0]) <= int(address) <= int(run[1])


def _reach(answer: Answer, facts: RelayFacts) -> tuple[str, str]:
    if answer.elsewhere:
        return "anywhere", "a login" if answer.login else answer.elsewhere
    return (_some(sorted(facts.domains)), "hosted domains") if answer.hosted else ("nowhere", "")


def _some(domains: Sequence[str]) -> str:
    more = f" and {len(domains) - _SHOWN} more" if len(domains) > _SHOWN else ""
    return ", ".join(domains[:_SHOWN]) + more
