"""Scanning by rspamd: the settings of [rspamd]."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from valija.auth.options import socket_fault
from valija.config.document import Reader, Table
from valija.config.faults import Setting, refuse
from valija.config.model import Config
from valija.config.readers import choice, duration, flag, number, path, shown_url, text
from valija.mail.fault import Fault
from valija.rspamd.options import UNIX, RspamdOptions

_REMEDY = 'write "http://127.0.0.1:11333", where its normal worker listens, or "unix:/path/of/its/socket"'


def read_rspamd(table: Table, folder: Path) -> RspamdOptions:
    """Return what stands in `table`."""
    default = RspamdOptions()
    return RspamdOptions(
        url=table.read("url", _place(folder), default.url),
        password_file=table.read("password_file", path(folder), default.password_file),
        timeout=table.read("timeout", duration("1s", "5m"), default.timeout),
        max_size=table.read("max_size", number(1, 1 << 40, "octets"), default.max_size),
        users=table.read("users", flag, default.users),
        on_failure=table.read("on_failure", choice("tempfail", "accept"), default.on_failure),
        on_reject=table.read("on_reject", choice("reject", "hold", "junk"), default.on_reject),
        on_greylist=table.read("on_greylist", choice("accept", "tempfail"), default.on_greylist),
    )


def doubts_about_rspamd(config: Config) -> Iterator[tuple[Setting, Fault]]:
    """Yield what works but may surprise."""
    url = config.rspamd.url
    if url.startswith("http:") and not is_loopback(urlsplit(url).hostname or ""):
        fault = Fault(url, "mail travels there in clear", 'let nobody else into that network, or write "https://..."')
        yield Setting("rspamd", "url"), fault


def _place(folder: Path) -> Reader[str]:
    def read(value: object) -> str:
        written = text(value)
        if written.startswith(UNIX):
            return UNIX + _socket(written, folder)
        return _url(written) if written else ""

    return read


def _socket(written: str, folder: Path) -> str:
    found = path(folder)(written.removeprefix(UNIX))
    fault = socket_fault(found) if found else ("it names no socket", _REMEDY)
    if fault:
        raise refuse(written, *fault)
    return found


def _url(written: str) -> str:
    shown = shown_url(written)
    try:
        parts = urlsplit(written)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise refuse(shown, f"it is not a URL ({error})", _REMEDY) from None
    if parts.scheme not in {"http", "https"} or not host or port == 0 or " " in written or not written.isascii():
        raise refuse(shown, "it is not a URL of http or https", _REMEDY)
    if parts.username is not None:
        raise refuse(shown, "it holds a user name", "leave it out; a password goes into a file, see password_file")
    if parts.query or parts.fragment:
        raise refuse(shown, "it has more than a place in it", _REMEDY)
    return written


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its address or as localhost."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
