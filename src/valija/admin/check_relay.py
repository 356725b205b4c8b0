"""What `valija check` finds about relaying: the proof that the relay is closed, and gateways that hide strangers.

    for finding in check_relay(config, Neighbours.of_this_machine()):
        print(finding)
    for grant in relay_table(config): ...     # who may send where, line by line

The proof asks the function that the server asks for each recipient: see policy/relay_proof.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from valija import machine
from valija.admin.findings import Finding, failure, fine, warning
from valija.config import Config
from valija.mail.origin import Role
from valija.policy.relay import RelayFacts
from valija.policy.relay_proof import Grant, Proof, grants, prove

_SHOWN: Final = 6  # addresses that a finding names


class Neighbours(msgspec.Struct, frozen=True):
    """What stands between this machine and others: gateways' addresses, and bridges by name with their addresses."""

    gateways: tuple[str, ...] = ()
    bridges: Mapping[str, frozenset[str]] = {}
    own: tuple[str, ...] = ()

    @classmethod
    def of_this_machine(cls) -> "Neighbours":
        """Return the facts as they are."""
        gateways = sorted({gateway.address for gateway in machine.gateways()})
        return cls(tuple(gateways), machine.bridges(), tuple(machine.source_addresses()))


def check_relay(config: Config, neighbours: Neighbours) -> Iterator[Finding]:
    """Yield the findings."""
    if not config.endpoints:
        yield warning("relay", "every listener is off: no mail comes in", "set [smtpd] or [submission] listen")
        return
    proof = prove_relay(config, neighbours)
    if proof.is_closed:
        yield fine("relay", "nobody outside can relay without a login, whatever the address")
    for leak in proof.leaks:
        yield failure("relay", leak, "name only your own ranges in mynetworks")
    yield from _gateways(config, neighbours)


def prove_relay(config: Config, neighbours: Neighbours) -> Proof:
    """Judge every address on every listener that is on."""
    bridged = [address for addresses in neighbours.bridges.values() for address in addresses]
    return prove(
        relay_facts(config),
        listeners_on(config),
        gateways=neighbours.gateways,
        landmarks=(*neighbours.own, *bridged),
    )


def relay_table(config: Config) -> list[Grant]:
    """Return who may send where, for each listener that is on."""
    facts, listeners = relay_facts(config), listeners_on(config)
    return list(grants(prove(facts, listeners), listeners, facts))


def relay_facts(config: Config) -> RelayFacts:
    """Return what the server decides by, with no mailbox but postmaster's: who has one does not matter here."""
    return RelayFacts(config.networks, frozenset(config.domains), config.domains[0], lambda _: False)


def listeners_on(config: Config) -> tuple[Role, ...]:
    """Return the listeners that listen anywhere."""
    return tuple(role for role, options in config.listeners.items() if options.listen)


def _gateways(config: Config, neighbours: Neighbours) -> Iterator[Finding]:
    """Yield bridges inside `mynetworks`; those of a well-known name the configuration refuses by itself."""
    trusted = [
        (name, address, entry)
        for name, addresses in neighbours.bridges.items()
        for address in sorted(addresses)
        if (entry := config.networks.find(address))
    ]
    for name, address, entry in trusted:
        text = f"{address}, a bridge of virtual machines or containers ({name}), lies in mynetworks {entry}"
        remedy = "strangers whom it passes on may appear as that address: name the clients' own addresses instead"
        yield warning("relay", text, remedy)
    known = [*neighbours.gateways, *(each for found in neighbours.bridges.values() for each in found)]
    if known and not trusted:
        yield fine("relay", f"no gateway or bridge is trusted: {', '.join(known[:_SHOWN])}")
