"""Proofs in the DNS: TXT records at `_acme-challenge.NAME`, put there by a command or by RFC 2136.

    with hooked_records(options, [("example.org", "value")], notes):       # acme_dns_hook
    with updated_records(options, [("example.org", "value")], notes):      # acme_dns_server, acme_dns_key_file

The command is called without a shell: `COMMAND present DOMAIN RECORD VALUE`, and `cleanup` likewise when the order is
over; it has two minutes, and says by its exit status whether it worked. Several values may stand at one name (that of a
wildcard and of the bare domain), so it adds and takes away one value, never the whole set. With RFC 2136 the zone is
found by asking the server for SOA records, and the key is a TSIG one in BIND's notation (RFC 8945).

Known weakness: a CNAME at `_acme-challenge` is not followed with RFC 2136; a hook may do that.
"""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update

from valija.mail.endpoint import Endpoint
from valija.tls.acme_task import ChallengeUnready
from valija.tls.options import TlsOptions

HOOK_PATIENCE: Final = 120.0  # seconds
_DNS_PATIENCE: Final = 15.0
_TTL: Final = 60
_SAID_AT_MOST: Final = 300  # characters of a failing command's last words

Record = tuple[str, str]  # the domain, and the TXT record's value
_KEY = re.compile(r'key\s+"?([\w.-]+)"?\s*\{(.*?)\}\s*;', re.DOTALL | re.ASCII)
_ALGORITHM = re.compile(r'algorithm\s+"?([\w.-]+)"?\s*;', re.ASCII)
_SECRET = re.compile(r'secret\s+"?([A-Za-z0-9+/=]+)"?\s*;', re.ASCII)


def record_name(domain: str) -> str:
    """Return where the proof for a domain stands (RFC 8555 section 8.4)."""
    return f"_acme-challenge.{domain}"


@contextlib.contextmanager
def hooked_records(options: TlsOptions, records: Sequence[Record], notes: list[str]) -> Iterator[None]:
    """Have the configured command publish records. Raises ChallengeUnready. What fails in cleaning up is noted."""
    published: list[Record] = []
    try:
        for domain, value in records:
            published.append((domain, value))  # first: even a call that failed may have left something
            call_hook(options.acme_dns_hook, "present", domain, value)
        time.sleep(options.acme_dns_wait)
        yield
    finally:
        for domain, value in published:
            try:
                call_hook(options.acme_dns_hook, "cleanup", domain, value)
            except ChallengeUnready as problem:
                notes.append(str(problem))


def call_hook(
    command: Sequence[str],
    action: Literal["present", "cleanup"],
    domain: str,
    value: str,
    patience: float = HOOK_PATIENCE,
) -> None:
    """Run the command for one record. Raises ChallengeUnready where it fails or takes over `patience` seconds."""
    name = command[0]
    try:
        process = subprocess.Popen(  # noqa: S603 the administrator's own command, called without a shell
            [*command, action, domain, record_name(domain), value],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise ChallengeUnready(f'[tls] acme_dns_hook = "{name}": it cannot be run ({error.strerror})') from None
    try:
        said, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        raise ChallengeUnready(f"acme_dns_hook {action} {domain}: it took longer than {patience:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and what it may have left running
        process.wait()
    if process.returncode:
        words = said.decode("utf-8", "replace").strip()[-_SAID_AT_MOST:]
        raise ChallengeUnready(
            f"acme_dns_hook {action} {domain}: exit status {process.returncode}: {words or 'no word'}"
        )


@contextlib.contextmanager
def updated_records(options: TlsOptions, records: Sequence[Record], notes: list[str]) -> Iterator[None]:
    """Publish records by dynamic updates. Raises ChallengeUnready. What fails in cleaning up is noted."""
    assert options.acme_dns_server
    server = DnsServer(options.acme_dns_server, read_key(options.acme_dns_key_file))
    published: list[Record] = []
    try:
        for domain, value in records:
            published.append((domain, value))
            server.change("add", record_name(domain), value)
        time.sleep(options.acme_dns_wait)
        yield
    finally:
        for domain, value in published:
            try:
                server.change("delete", record_name(domain), value)
            except ChallengeUnready as problem:
                notes.append(str(problem))


class DnsServer:
    """A name server that takes updates signed with a key."""

    def __init__(self, endpoint: Endpoint, key: dns.tsig.Key | None) -> None:
        self._endpoint = endpoint
        self._key = key

    def change(self, action: Literal["add", "delete"], name: str, value: str) -> None:
        """Add or delete one TXT record. Raises ChallengeUnready."""
        owner = dns.name.from_text(name)
        update = dns.update.UpdateMessage(self._zone_of(owner))
        if action == "add":
            update.add(owner, _TTL, "TXT", f'"{value}"')
        else:
            update.delete(owner, "TXT", f'"{value}"')
        answer = self._ask(update)
        if answer.rcode() != dns.rcode.NOERROR:
            why = dns.rcode.to_text(answer.rcode())
            raise ChallengeUnready(f"the name server {self._endpoint} refuses the update of {name}: {why}")

    def _zone_of(self, owner: dns.name.Name) -> dns.name.Name:
        """Return the zone that a name lies in: the nearest one above it that the server has an SOA record for."""
        while owner != dns.name.root:
            answer = self._ask(dns.message.make_query(owner, "SOA"))
            if any(each.name == owner and each.rdtype == dns.rdatatype.SOA for each in answer.answer):
                return owner
            owner = owner.parent()
        raise ChallengeUnready(f"the name server {self._endpoint} has no zone for the name")

    def _ask(self, query: dns.message.Message) -> dns.message.Message:
        if self._key:
            query.use_tsig(self._key)
        try:
            return dns.query.tcp(query, self._endpoint.host, _DNS_PATIENCE, self._endpoint.port)
        except (dns.exception.DNSException, OSError, EOFError) as error:
            reason = str(error) or type(error).__name__
            raise ChallengeUnready(f"the name server {self._endpoint} cannot be used: {reason}") from None


def read_key(path: str) -> dns.tsig.Key | None:
    """Return the TSIG key in a file in BIND's notation, None for no file. Raises ChallengeUnready."""
    if not path:
        return None
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ChallengeUnready(f'[tls] acme_dns_key_file = "{path}": {reason}') from None
    found = _KEY.search(text)
    secret = _SECRET.search(found[2]) if found else None
    if not found or not secret:
        remedy = "tsig-keygen writes such a file"
        raise ChallengeUnready(f'[tls] acme_dns_key_file = "{path}": there is no key "..." {{ ... }}; in it; {remedy}')
    algorithm = _ALGORITHM.search(found[2])
    try:
        key = dns.tsig.Key(found[1], secret[1], algorithm[1].lower() if algorithm else "hmac-sha256")
    except (ValueError, dns.exception.DNSException):  # binascii's too
        key = None
    if key is None or key.algorithm not in dns.tsig.mac_sizes:
        raise ChallengeUnready(f'[tls] acme_dns_key_file = "{path}": the key in it makes no sense')
    return key
