"""A real unbound for a test: a validating resolver on loopback that answers for the zones the test gives it.

    zones = {
        "signed.example": Zone("@ MX 10 mx", "mx A 127.0.0.2", "_25._tcp.mx TLSA 3 1 1 6a1f...", signed=True),
        "plain.example": Zone("@ MX 10 mx", "mx A 127.0.0.3"),
        "forged.example": Zone("@ MX 10 mx", "mx A 127.0.0.4", signed=True, bogus=("mx A",)),
    }
    with LiveUnbound(zones) as dns:
        DnsOptions(nameservers=(dns.endpoint,))          # on loopback, so its AD bit is believed
        dns.change({"plain.example": Zone("@ MX 0 .")})  # others from now on; what was cached is forgotten

It validates: a signed zone's keys are its trust anchors, and each signature is checked as it would be from a distant
server. What stands in `bogus` has signatures of something else, as an answer has that was forged on its way: SERVFAIL
from a validating resolver. Names are relative to their zone, `@` is the zone itself. Whatever is in no zone does not
exist. A long TXT record is written in quotes, piece by piece.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import dns.dnssec
import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rdataset
import dns.rdatatype
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from tests.foreground import Foreground
from tests.ports import free_port
from valija.mail.endpoint import Endpoint

UNBOUND = shutil.which("unbound", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
MISSING = "" if UNBOUND else "unbound is missing: apt-get install unbound"
ADDRESS = "127.0.0.1"

_TTL = 60
_LIFETIME = 86_400  # seconds that a signature is good for

_CONFIGURATION = """
server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: "{folder}/log"
  val-log-level: 2
  num-threads: 1
  interface: {address}
  port: {port}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: yes
  do-ip6: no
  module-config: "validator iterator"
  trust-anchor-file: "{folder}/anchors"
  trust-anchor-signaling: no
  local-zone: "test." nodefault
  unblock-lan-zones: yes
  edns-buffer-size: 1232
  minimal-responses: yes
remote-control:
  control-enable: no
"""

_ZONE = """
auth-zone:
  name: "{name}."
  zonefile: "{file}"
  for-downstream: no
  for-upstream: yes
"""


class Zone:
    """The records of one zone, each `name type data`; each `name type` in `bogus` gets wrong signatures."""

    def __init__(self, *records: str, signed: bool = False, bogus: Sequence[str] = ()) -> None:
        self.records = records
        self.signed = signed or bool(bogus)
        self.bogus = bogus


class LiveUnbound(Foreground):
    """See the module's example."""

    def __init__(self, zones: Mapping[str, Zone]) -> None:
        super().__init__("unbound")
        self.port = free_port(ADDRESS)
        self._zones = dict(zones)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(ADDRESS, self.port)

    @property
    def nameserver(self) -> str:
        """The same for `[dns] nameservers`."""
        return str(self.endpoint)

    def change(self, zones: Mapping[str, Zone]) -> None:
        """Have these zones be others from now on."""
        self._zones.update(zones)
        self.stop()
        self.start()

    def command(self) -> Sequence[str | Path]:
        assert UNBOUND
        file = self.folder / "unbound.conf"
        file.write_text(self._configuration())
        return UNBOUND, "-d", "-p", "-c", file

    def answers(self) -> bool:
        question = dns.message.make_query("ready.invalid", "A")
        try:
            dns.query.tcp(question, ADDRESS, timeout=1.0, port=self.port)
        except (OSError, EOFError, dns.exception.DNSException):
            return False
        return True

    # What it reads

    def _configuration(self) -> str:
        text = _CONFIGURATION.format(folder=self.folder, address=ADDRESS, port=self.port)
        anchors: list[str] = []
        parts = [_ZONE.format(name="", file=self._write("root", _parse("", Zone())))]
        for name, zone in self._zones.items():
            parsed = _parse(name, zone)
            if zone.signed:
                anchors.append(_sign(parsed, zone.bogus))
            parts.append(_ZONE.format(name=name, file=self._write(name, parsed)))
        (self.folder / "anchors").write_text("".join(f"{anchor}\n" for anchor in anchors))
        return text + "".join(parts)

    def _write(self, name: str, zone: dns.zone.Zone) -> Path:
        file = self.folder / f"{name}.zone"
        zone.to_file(str(file), relativize=False)
        return file


def _parse(name: str, zone: Zone) -> dns.zone.Zone:
    lines = [f"@ {_TTL} IN SOA ns.invalid. root.invalid. 1 3600 600 86400 {_TTL}", f"@ {_TTL} IN NS ns.invalid."]
    for record in zone.records:
        owner, kind, data = record.split(maxsplit=2)
        lines.append(f"{owner} {_TTL} IN {kind} {data}")
    return dns.zone.from_text("\n".join(lines), origin=f"{name}.", relativize=False)


def _sign(zone: dns.zone.Zone, bogus: Sequence[str]) -> str:
    """Sign a zone; return the trust anchor for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = dns.dnssec.make_dnskey(key.public_key(), "ECDSAP256SHA256", flags=256)
    dns.dnssec.sign_zone(zone, keys=[(key, public)], dnskey_ttl=_TTL, lifetime=_LIFETIME)
    for entry in bogus:
        owner, kind = entry.split()
        _spoil(zone, dns.name.from_text(owner, zone.origin), dns.rdatatype.from_text(kind))
    return f"{zone.origin} {_TTL} IN DNSKEY {public}"


def _spoil(zone: dns.zone.Zone, owner: dns.name.Name, kind: dns.rdatatype.RdataType) -> None:
    """Put other octets into the signatures of one record set."""
    signatures = zone.get_rdataset(owner, dns.rdatatype.RRSIG, covers=kind)
    assert signatures is not None, f"nothing signs {owner} {kind}"
    wrong = [signature.replace(signature=bytes(64)) for signature in signatures]
    spoiled = dns.rdataset.from_rdata_list(signatures.ttl, wrong)
    zone.replace_rdataset(owner, spoiled)


__all__ = ["MISSING", "LiveUnbound", "Zone"]
