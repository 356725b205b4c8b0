"""What a child of the root helper does: one request, with its answer's content as the value.

    judge_login(request, service)                  # Verdict
    read_configuration(source, account)            # ConfigurationRead
    read_pairs(files, account)                     # PairsRead

What is read is read as root, and looked at as the service's user: root parses nothing. What that user could have
written or replaced is read as that user, who learns nothing by it then. Of a pair nothing is told unless the key
belongs to the certificate: a configuration that names another file finds nothing out.
"""

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from valija.auth.pam import Verdict
from valija.auth.pam_service import ServiceMissing, find_service
from valija.config import MACHINE, NO_FILE, Config, ConfigError, parse, read_text
from valija.privileges import Account, drop, first_changeable
from valija.tls.pair import CertificatePair, PairFault, check_pair, read_pair
from valija.warden import pam_call
from valija.warden.messages import ConfigurationRead, FileFault, Login, PairRead, PairsRead, Stamp

Files = tuple[str, str]  # of a chain and its key
Stamps = tuple[Stamp | None, Stamp | None]

_UNSETTLED: Final = 2_000_000_000  # nanoseconds: a file this fresh may change again without changing its time


class Source(msgspec.Struct, frozen=True):
    """The configuration's file, None where there is none, and the name that faults give it."""

    path: Path | None
    name: str = NO_FILE


def judge_login(request: Login, service: str) -> Verdict:
    """Ask PAM."""
    return pam_call.judge(request.names, request.password, service)


def read_configuration(source: Source, account: Account) -> ConfigurationRead:
    """Read the configuration, and find out what it names."""
    try:
        text = _text_of(source, account)
        folder = source.path.parent if source.path else Path.cwd()
        config = parse(text, source.name, folder, MACHINE)
        service = find_service(config.sasl.pam_service).name if config.sasl.type == "pam" else ""
    except ConfigError as refused:
        return ConfigurationRead(faults=str(refused))
    except ServiceMissing as missing:
        return ConfigurationRead(faults=f"{source.name}: [sasl] pam_service: {missing}")
    return ConfigurationRead(text, "", files_of(config), service)


def _text_of(source: Source, account: Account) -> str:
    """Return the text, and be the service's user afterwards. Raises ConfigError."""
    if not is_roots(source, account):
        drop(account)
    try:
        return read_text(source.path) if source.path else ""
    finally:
        drop(account)


def is_roots(source: Source, account: Account) -> bool:
    """Whether what the configuration names was named by somebody whom root can obey: not by the service's user."""
    return source.path is None or account.is_root or first_changeable(source.path, account) is None


def files_of(config: Config) -> tuple[Files, ...]:
    """Return the chains and keys that a configuration names."""
    wanted = config.tls.wanted(config.hostname)
    return tuple(dict.fromkeys((each.cert_file, each.key_file) for each in wanted if each.certificate == "files"))


def stamps_of(files: Sequence[Files]) -> list[Stamps]:
    """Return what tells one state of the files from another."""
    return [(_stamp_of(chain), _stamp_of(key)) for chain, key in files]


def _stamp_of(path: str) -> Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def state_of(stamps: Sequence[Stamps], now: float) -> bytes:
    """Return the state of the files in few octets, `b""` while it may change unseen. `now`: seconds since the epoch."""
    newest = max((stamp[0] for pair in stamps for stamp in pair if stamp), default=0)
    if abs(now * 1e9 - newest) < _UNSETTLED:
        return b""
    return hashlib.sha256(msgspec.msgpack.encode(stamps)).digest()


def read_pairs(files: Sequence[Files], account: Account) -> PairsRead:
    """Read pairs as root, where the service's user could not have put others in their place; look at them as that."""
    stamps = stamps_of(files)
    state = state_of(stamps, time.time())
    as_root = {each: read_pair(*each) for each in files if _are_roots(each, account)}
    drop(account)
    read = [as_root.get(each) or read_pair(*each) for each in files]
    pairs = [_told(pair, faults, stamp) for (pair, faults), stamp in zip(read, stamps, strict=True)]
    return PairsRead(tuple(pairs), state)


def _are_roots(files: Files, account: Account) -> bool:
    return account.is_root or all(path and first_changeable(path, account) is None for path in files)


def _told(pair: CertificatePair, faults: list[PairFault], stamps: Stamps) -> PairRead:
    """Return what is told of a pair: nothing that is in it where TLS could not be spoken with it."""
    faults = [*faults, *check_pair(pair, "", time.time())]
    fatal = tuple(FileFault(str(each.value), each.reason, each.remedy) for each in faults if each.is_fatal)
    chain, key = (b"", b"") if fatal else (pair.chain_pem, pair.key_pem)
    return PairRead(pair.chain_file, pair.key_file, stamps, chain, key, fatal)
