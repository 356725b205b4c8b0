"""valija relay-proof: who may relay, proven over every address there is. Exit status 1 where anybody outside could."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from valija.cli.frame import Call, Refusal, command

if TYPE_CHECKING:
    from valija.config import Config
    from valija.mail.endpoint import Endpoint
    from valija.policy.relay_proof import Answer, Grant, Proof


def add_to(main: click.Group) -> None:
    """Add the command."""

    @command(main, "relay-proof")
    @click.option("--from", "client", metavar="ADDRESS", help="Tell what a client of this address could do.")
    def relay_proof(call: Call, client: str | None) -> None:
        """Prove that nobody outside can relay without a login, and tell who can."""
        from valija.admin.check_relay import Neighbours, prove_relay, relay_table

        config = call.load()
        proof = prove_relay(config, Neighbours.of_this_machine())
        if client is None:
            call.answer(_whole(proof, table := relay_table(config)), _whole_lines(proof, table))
        else:
            _answer_for(call, config, client, proof)
        if not proof.is_closed:
            raise Refusal("the relay is open:\n" + "\n".join(proof.leaks))


def _whole(proof: "Proof", table: "Sequence[Grant]") -> dict[str, Any]:
    return {
        "closed": proof.is_closed,
        "leaks": proof.leaks,
        "pieces": proof.pieces,
        "relay": table,
        "stretches": proof.stretches,
    }


def _whole_lines(proof: "Proof", table: "Sequence[Grant]") -> list[str]:
    from valija.admin.check_report import grant_lines

    if not table:
        return ["every listener is off: nobody can send anything"]
    lines = [*grant_lines(table), ""]
    if proof.is_closed:
        lines += [
            f"proven over all IPv4 and IPv6 addresses, in {proof.pieces} pieces, by the server's own decision: "
            "nobody outside can relay without a login"
        ]
    return lines


def _answer_for(call: Call, config: "Config", client: str, proof: "Proof") -> None:
    from valija.admin.check_relay import listeners_on, relay_facts
    from valija.policy.networks import parse_address
    from valija.policy.relay_proof import answers_for

    address = parse_address(client)
    if address is None:
        raise Refusal(f"{client!r} is no IP address; write one such as 192.0.2.1 or 2001:db8::1")
    answers = answers_for(client, listeners_on(config), relay_facts(config))
    places = {role: _reachable(options.listen, address.version) for role, options in config.listeners.items()}
    value = {
        "closed": proof.is_closed,
        "leaks": proof.leaks,
        "from": str(address),
        "mynetworks": config.networks.find(client),
        "answers": [_as_json(answer, places[answer.listener]) for answer in answers],
    }
    entry = config.networks.find(client)
    where = f"lies in mynetworks {entry}" if entry else "lies in no range of mynetworks"
    call.answer(value, [f"{address} {where}", "", *_answer_lines(answers, places)])


def _reachable(endpoints: "Sequence[Endpoint]", version: int) -> list[str]:
    """Return the endpoints of an address family: a client of the other one cannot reach them."""
    return [str(endpoint) for endpoint in endpoints if endpoint.is_ipv6 == (version == 6)]


def _as_json(answer: "Answer", places: list[str]) -> dict[str, Any]:
    return {
        "listener": answer.listener,
        "listen": places,
        "login": answer.login,
        "hosted": {"allowed": bool(answer.hosted), "rule": answer.hosted},
        "elsewhere": {"allowed": bool(answer.elsewhere), "rule": answer.elsewhere, "reply": answer.refusal},
    }


def _answer_lines(answers: "Sequence[Answer]", places: dict[Any, list[str]]) -> list[str]:
    from valija.admin.check_report import columns

    rows = [
        (
            answer.listener,
            ", ".join(places[answer.listener]) or "not reached by it",
            "a user's" if answer.login else "none",
            _yes(answer.hosted) or "no",
            _yes(answer.elsewhere) or f"no: {answer.refusal}",
        )
        for answer in answers
    ]
    return columns(("listener", "at", "login", "to hosted domains", "to all others"), rows)


def _yes(rule: str) -> str:
    return f"yes, by {rule}" if rule else ""
