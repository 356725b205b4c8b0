"""What `valija check` finds about the certificates: names, chain, dates, who trusts them, and who can read the keys.

    for finding in check_certificates(config, time.time(), reader):
        print(finding)

The default one comes first, then those of `[[tls.certificates]]`. What can be served is judged further in check_chain.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from valija.admin.check_chain import check_chain
from valija.admin.findings import Finding, failure, fine, unknown, warning
from valija.config import Config
from valija.privileges import Account, first_barred, first_changeable
from valija.tls.acme_files import AcmeFiles, read_issued
from valija.tls.acme_state import read_state
from valija.tls.options import CertificateOptions
from valija.tls.pair import CertificatePair, PairFault, certificate_summary, check_pair, covers, read_pair


class _Place(msgspec.Struct, frozen=True):
    """One certificate: what is wanted of it, where the configuration speaks of it, and the authority's files of it."""

    wanted: CertificateOptions
    table: str
    issued: AcmeFiles
    folder: Path

    @property
    def name(self) -> str:
        """What it is for in the first place."""
        return self.wanted.names[0]


def check_certificates(config: Config, now: float, reader: Account | None) -> Iterator[Finding]:
    """Yield the findings. `now` is seconds since the epoch; `reader` is the user that root becomes, if it does."""
    for place in _places(config):
        match place.wanted.certificate:
            case "files":
                yield from _from_files(place, now)
                yield from _readable(place, reader)
            case "acme":
                yield from _issued(place, now)
            case "self-signed":
                yield from _made_here(place)


def _places(config: Config) -> list[_Place]:
    return [
        _Place(
            each,
            f"[[tls.certificates]] #{number}" if number else "[tls]",
            AcmeFiles.of(config.data_dir, config.tls.acme_directory, each.names[0]),
            config.data_dir / "tls",
        )
        for number, each in enumerate(config.tls.wanted(config.hostname))
    ]


def served_chain(config: Config) -> bytes:
    """Return the chain in PEM that the server shows to most, empty where this user cannot read it."""
    place = _places(config)[0]
    made = place.folder / "self-signed.pem"
    paths = {"files": [Path(place.wanted.cert_file)], "acme": [place.issued.current, made], "self-signed": [made]}
    for path in paths[place.wanted.certificate]:
        try:
            return read_issued(path).chain_pem
        except OSError:
            continue
    return b""


# Where each comes from


def _made_here(place: _Place) -> Iterator[Finding]:
    text = f"a self-signed one for {place.name} is kept in {place.folder}, made at the first start"
    yield fine("certificate", text)
    yield warning(
        "certificate",
        "mail programs of users will ask whether to trust it",
        f'name one from an authority: {place.table} certificate = "files", cert_file and key_file',
    )


def _from_files(place: _Place, now: float) -> Iterator[Finding]:
    pair, faults = read_pair(place.wanted.cert_file, place.wanted.key_file)
    yield from _judged(place, pair, faults, now)


def _issued(place: _Place, now: float) -> Iterator[Finding]:
    """Yield what is known of one that an authority issues: it, and how its renewals go."""
    try:
        pair = read_issued(place.issued.current)
    except PermissionError:
        yield unknown("certificate", f"you may not look into {place.issued.folder}", "run the check as root")
        return
    except OSError:
        text = f"the authority has not issued one for {place.name} yet: a self-signed one stands in for it"
        yield warning("certificate", text, "start the server, and see its log")
    else:
        yield from _judged(place, pair, [], now)
    state = read_state(place.issued.state)
    if state.failures:
        times = "once" if state.failures == 1 else f"{state.failures} times"
        text = f"an order for {place.name} came to nothing, {times} so far: {state.last_error}"
        yield warning("certificate", text, "the server tries again by itself")


# What is wrong with it


def _judged(place: _Place, pair: CertificatePair, faults: list[PairFault], now: float) -> Iterator[Finding]:
    faults += check_pair(pair, place.name, now, place.wanted.names[1:])
    is_usable = not any(fault.is_fatal for fault in faults)
    # The server starts with such a pair, but whoever verifies its name or date hands it no mail.
    is_right = is_usable and _is_for(pair, place.wanted.names, now)
    for fault in dict.fromkeys(faults):
        yield (warning if is_right else failure)("certificate", _placed(fault, place), fault.remedy)
    if not faults:
        yield fine("certificate", _described(pair))
    if is_right:
        yield from check_chain(pair, place.name, now)


def _is_for(pair: CertificatePair, wanted: tuple[str, ...], now: float) -> bool:
    """Whether a certificate names the hosts, and is valid now."""
    summary = certificate_summary(pair)
    names_all = all(any(covers(name, host) for name in summary.names) for host in wanted)
    return names_all and summary.not_before <= now < summary.not_after


def _placed(fault: PairFault, place: _Place) -> str:
    keys = {place.wanted.key_file: "key_file", place.wanted.cert_file: "cert_file"}
    key = keys.get(str(fault.value)) if fault.value else None
    return f'{place.table} {key} = "{fault.value}": {fault.reason}' if key else f"{fault.value}: {fault.reason}"


def _described(pair: CertificatePair) -> str:
    summary = certificate_summary(pair)
    until = datetime.fromtimestamp(summary.not_after, UTC).date()
    return f"{pair.chain_file} is for {', '.join(summary.names) or 'no name'}, valid until {until}"


def _readable(place: _Place, reader: Account | None) -> Iterator[Finding]:
    """Yield files that root reads at the start, and that its user cannot read again when they are renewed."""
    for key, path in (("cert_file", place.wanted.cert_file), ("key_file", place.wanted.key_file)):
        if reader and not reader.is_root and path and (barred := first_barred(Path(path), reader)):
            text = f'{place.table} {key} = "{path}": user {reader.name!r} cannot read {barred}'
            if open_part := first_changeable(path, reader):
                text = f"{text}, and can change {open_part}: a renewed one is not read as root"
                yield warning("certificate", text, f"chown root {open_part}, and let nobody else write there")
            else:
                yield fine("certificate", f"{text}; the root helper reads it again when it is renewed")
