"""A name server for the zones that are measured with, as a process: `python -m bench.names ADDRESS PORT`.

| domain | its MX host | what is there |
|---|---|---|
| dst.test, sink.test | 127.0.0.1 | the sink |
| NAME.refused.test | 127.0.0.9 | nobody listens |
| slow.test | 127.0.0.4 | a host that never speaks |

Every other name does not exist.
"""

import socket
import sys
from collections.abc import Sequence
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

REFUSED_DOMAIN: Final = "refused.test"
SLOW_DOMAIN: Final = "slow.test"
SLOW_ADDRESS: Final = "127.0.0.4"

_TTL: Final = 3600
_ADDRESSES: Final = {
    "localhost": "127.0.0.1",
    "mx.sink.test": "127.0.0.1",
    "mx.refused.test": "127.0.0.9",
    "mx.slow.test": SLOW_ADDRESS,
}


def answer(query: dns.message.Message) -> dns.message.Message:
    """Return the answer to a question."""
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    response = dns.message.make_response(query, recursion_available=True)
    response.flags |= dns.flags.AA
    records = _records(name)
    found = records.get(dns.rdatatype.to_text(question.rdtype))
    if found:
        response.answer.append(dns.rrset.from_text(question.name, _TTL, "IN", question.rdtype, found))
    elif not records:
        response.set_rcode(dns.rcode.NXDOMAIN)
    return response


def _records(name: str) -> dict[str, str]:
    """Return a name's records by their type."""
    if name in ("dst.test", "sink.test"):
        return {"MX": "10 mx.sink.test."}
    if name == SLOW_DOMAIN:
        return {"MX": "10 mx.slow.test."}
    if address := _ADDRESSES.get(name):
        return {"A": address}
    if name.endswith(f".{REFUSED_DOMAIN}"):
        return {"MX": "10 mx.refused.test."}
    if name.endswith(".127.in-addr.arpa"):
        return {"PTR": "localhost."}
    return {}


def main(arguments: Sequence[str]) -> None:
    """Answer until the process is ended."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((arguments[0], int(arguments[1])))
        print("ready", flush=True)
        while True:
            wire, client = udp.recvfrom(4096)
            try:
                udp.sendto(answer(dns.message.from_wire(wire)).to_wire(), client)
            except dns.exception.DNSException:
                continue


if __name__ == "__main__":
    main(sys.argv[1:])
