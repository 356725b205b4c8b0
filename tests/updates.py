"""A name server that takes updates signed with a key (RFC 2136, 8945), in front of a FakeDns that answers the rest.

    with FakeDns({...}) as dns, UpdatedDns(dns, zone="example.org") as server:
        server.endpoint                     # "127.0.0.1:23456", for updates and questions over TCP
        server.key_file(folder)             # its TSIG key in BIND's notation
        server.changes                      # [("add", "_acme-challenge.example.org", "value"), ...]

What is added is seen at once by whoever asks the FakeDns.
"""

import socketserver
import struct
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dns.exception
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update

from tests.fakedns import FakeDns

NAME, SECRET = "valija-key", "c2VjcmV0IG9mIHRoZSB0ZXN0cywgMzIgb2N0ZXRzISE="


class UpdatedDns:
    """The server between `__enter__` and `__exit__`. `refuses` answers each update with that code."""

    def __init__(self, dns_server: FakeDns, zone: str, refuses: str = "") -> None:
        self.changes: list[tuple[str, str, str]] = []
        self._dns = dns_server
        self._zone = dns.name.from_text(zone)
        self._refuses = refuses
        self._key = dns.tsig.Key(NAME, SECRET, "hmac-sha256")
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                (length,) = struct.unpack("!H", self.rfile.read(2))
                answer = outer._answer(self.rfile.read(length))
                self.wfile.write(struct.pack("!H", len(answer)) + answer)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def key_file(self, folder: Path, secret: str = SECRET) -> str:
        path = folder / "tsig.key"
        path.write_text(f'key "{NAME}" {{\n\talgorithm hmac-sha256;\n\tsecret "{secret}";\n}};\n')
        return str(path)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, wire: bytes) -> bytes:
        try:
            query = dns.message.from_wire(wire, keyring={self._key.name: self._key})
        except dns.exception.DNSException:
            answer = dns.message.make_response(dns.message.from_wire(wire, keyring=False), our_payload=1232)
            answer.set_rcode(dns.rcode.NOTAUTH)
            return answer.to_wire()
        answer = dns.message.make_response(query)
        if query.opcode() != dns.opcode.UPDATE:
            self._tell_zone(query, answer)
        elif not query.had_tsig or self._refuses:
            answer.set_rcode(dns.rcode.from_text(self._refuses or "REFUSED"))
        else:
            assert isinstance(query, dns.update.UpdateMessage)
            self._update(query)
        if query.had_tsig:
            answer.use_tsig(self._key)
        return answer.to_wire()

    def _tell_zone(self, query: dns.message.Message, answer: dns.message.Message) -> None:
        if query.question[0].name == self._zone:
            soa = "ns.example.org. admin.example.org. 1 3600 600 86400 60"
            answer.answer.append(dns.rrset.from_text(self._zone, 60, "IN", "SOA", soa))

    def _update(self, update: dns.update.UpdateMessage) -> None:
        for change in update.update:
            assert update.zone[0].name == self._zone
            name = change.name.derelativize(self._zone).to_text(omit_final_dot=True)
            records: list[str] = list(self._dns.zone.get(name, []))
            for data in change:
                value = f"TXT {data.to_text()}"
                deleting = change.deleting == dns.rdataclass.NONE
                self.changes.append(("delete" if deleting else "add", name, _text(data)))
                records = [each for each in records if each != value] + ([] if deleting else [value])
            self._dns.publish(name, records)


def _text(data: Any) -> str:
    return b"".join(data.strings).decode()
