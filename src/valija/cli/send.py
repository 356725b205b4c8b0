"""valija send: try a server by hand, and see the whole conversation. Exit status 1 where it says no."""

import os
import sys
from typing import TYPE_CHECKING, Any, Final, cast

import click

from valija.cli.frame import Call, Refusal, command

if TYPE_CHECKING:
    from valija.client.order import Account, Mode, Order, Stop, Tls

VARIABLE: Final = "VALIJA_SEND_PASSWORD"
_FILE: Final = click.Path(exists=True, dir_okay=False, allow_dash=True)
_LONGEST_SECRET: Final = 65536  # octets; tokens are long
_STOPS: Final = ("connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data")
_MECHANISMS: Final = ("PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "XOAUTH2", "OAUTHBEARER")
_SUBJECT: Final = "A test of valija send"
_BODY: Final = "This message was sent by hand, to see whether a mail server takes it."


def add_to(main: click.Group) -> None:
    """Add the command."""

    @command(main, "send", configured=False)
    @click.option("--server", metavar="HOST[:PORT]", required=True, help="The server; [ADDRESS]:PORT for IPv6.")
    @click.option("--smtp", "mode", flag_value="smtp", help="Speak as another server does, by default on port 25.")
    @click.option("--submission", "mode", flag_value="submission", help="As a user on 587: STARTTLS first.")
    @click.option("--submissions", "mode", flag_value="submissions", help="As a user on 465: TLS first.")
    @click.option("--tls", type=click.Choice(("required", "may", "none")), help="Whether to use STARTTLS.")
    @click.option("--name", metavar="NAME", help="The name the certificate has to be for, by default HOST.")
    @click.option("--ca-file", metavar="FILE", default="", help="The authorities to trust, by default the system's.")
    @click.option("--insecure", is_flag=True, help="Go on whatever the certificate, and show passwords in clear.")
    @click.option("--ehlo", metavar="NAME", help="What to call ourselves.")
    @click.option("--user", metavar="NAME", help="Log in as this user.")
    @click.option("--mechanism", type=click.Choice(_MECHANISMS, case_sensitive=False), help="How to log in.")
    @click.option("--password-stdin", is_flag=True, help="Read the password or token from standard input.")
    @click.option("--from", "sender", metavar="ADDRESS", help="The reverse-path, by default the user.")
    @click.option("--to", "recipients", metavar="ADDRESS", multiple=True, help="A recipient; as often as needed.")
    @click.option("--file", "file", type=_FILE, metavar="FILE", help="The message; - is standard input.")
    @click.option("--subject", metavar="TEXT", default=_SUBJECT, help="The subject of a message made here.")
    @click.option("--body", metavar="TEXT", default=_BODY, help="Its text.")
    @click.option("--quit-after", type=click.Choice(_STOPS), default=None, help="End when that has been answered.")
    @click.option("--timeout", type=click.FloatRange(0.1, 3600), default=30.0, help="Seconds that each wait may take.")
    def send(call: Call, /, **options: Any) -> None:
        """Try any server by hand: log in, send a message, and see the whole conversation."""
        import asyncio

        from valija.client.conversation import converse
        from valija.client.record import Line, Record

        def show(line: Line) -> None:
            if not call.as_json:
                click.echo(str(line))

        order = _order(options)
        record = Record(show)
        outcome = asyncio.run(converse(order, record))
        if call.as_json:
            call.answer(_as_json(order, outcome, record.lines), ())
        if not outcome.accepted:
            raise Refusal(outcome.reason)


def _order(options: dict[str, Any]) -> "Order":
    """Read what is to be done. Raises UsageError, Refusal."""
    from valija.client.order import PORTS, Order
    from valija.machine import full_host_name

    host, port = _server(options["server"])
    mode = options["mode"] or _guess_mode(port, has_user=options["user"] is not None)
    ehlo = options["ehlo"] or full_host_name()
    sender = _sender(options)
    recipients = tuple(_address(address, "--to") for address in options["recipients"])
    if not recipients and options["quit_after"] not in _STOPS[:4]:
        raise click.UsageError("name a recipient with --to, or end earlier with --quit-after")
    return Order(
        host=host,
        port=port or PORTS[mode],
        mode=mode,
        ehlo=ehlo,
        name=options["name"] or host,
        tls=_tls(mode, options["tls"]),
        ca_file=options["ca_file"],
        insecure=options["insecure"],
        account=_account(options),
        reverse_path=sender,
        recipients=recipients,
        content=_content(options, sender, recipients, ehlo) if recipients else b"",
        quit_after=cast("Stop", options["quit_after"] or ""),
        timeout=options["timeout"],
    )


def _server(text: str) -> tuple[str, int]:
    """Return host and port, 0 where there is none."""
    host, port = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535
    if not host or (port and not is_port) or text.endswith(":"):
        raise click.UsageError(f"--server {text!r} is no HOST, HOST:PORT or [ADDRESS]:PORT")
    return host, int(port or 0)


def _guess_mode(port: int, *, has_user: bool) -> "Mode":
    by_port: dict[int, Mode] = {465: "submissions", 587: "submission", 0: "submission" if has_user else "smtp"}
    return by_port.get(port, "smtp")


def _tls(mode: "Mode", wanted: str | None) -> "Tls":
    if mode == "submissions" and wanted not in (None, "required"):
        raise click.UsageError(f"--tls {wanted} makes no sense with --submissions, where TLS comes first")
    return cast("Tls", wanted or ("may" if mode == "smtp" else "required"))


def _sender(options: dict[str, Any]) -> str:
    sender = options["sender"]
    if sender is not None:
        return _address(sender, "--from") if sender not in ("", "<>") else ""
    user = options["user"] or ""
    if options["recipients"] and "@" not in user:
        raise click.UsageError("name the sender with --from; <> is the sender of reports")
    return user


def _address(text: str, option: str) -> str:
    """Return an address. Odd ones may be tried, but for what would make two commands of one."""
    address = text.removeprefix("<").removesuffix(">")
    if not address or not address.isprintable():
        raise click.UsageError(f"{option} {text!r} is no address")
    return address


def _account(options: dict[str, Any]) -> "Account | None":
    from valija.client.order import Account

    user = options["user"]
    if user is None:
        if options["mechanism"] or options["password_stdin"]:
            raise click.UsageError("name the user with --user")
        return None
    return Account(user, _secret(options), (options["mechanism"] or "").upper())


def _secret(options: dict[str, Any]) -> str:
    """Return the password or token: never from an argument, where every user of the machine could read it."""
    if options["password_stdin"]:
        if options["file"] == "-":
            raise click.UsageError("standard input is either the message or the password")
        return _first_line(sys.stdin.buffer.readline(_LONGEST_SECRET))
    if (secret := os.environ.get(VARIABLE)) is not None:
        return secret
    if not sys.stdin.isatty():
        raise click.UsageError(f"there is no password: use --password-stdin, or the variable {VARIABLE}")
    return str(click.prompt("Password", hide_input=True, err=True))


def _first_line(octets: bytes) -> str:
    try:
        secret = octets.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise Refusal("the password on standard input is not UTF-8") from None
    if not secret:
        raise Refusal("there is no password on standard input; write it on one line")
    return secret


def _content(options: dict[str, Any], sender: str, recipients: tuple[str, ...], ehlo: str) -> bytes:
    import secrets
    import time

    from valija.client.message import NoMessage, compose, with_smtp_line_ends

    try:
        if options["file"] is not None:
            with click.open_file(options["file"], "rb") as file:
                return with_smtp_line_ends(file.read())
        return compose(
            sender,
            recipients,
            subject=options["subject"],
            body=options["body"],
            unique=secrets.token_hex(12),
            now=time.time(),
            hostname=ehlo,
        )
    except NoMessage as why:
        raise Refusal(str(why)) from None
    except OSError as error:
        raise Refusal(f"{options['file']}: {error.strerror}") from None


def _as_json(order: "Order", outcome: Any, lines: list[Any]) -> dict[str, Any]:
    import msgspec

    told = msgspec.to_builtins(outcome)
    return {"server": order.host, "port": order.port, "mode": order.mode, **told, "conversation": lines}
