"""valija certificate list and renew: the certificates of the running server."""

from datetime import UTC, datetime
from typing import Any, Final, cast

import click

from valija.cli.frame import Call, Refusal, command, group
from valija.cli.server import ask, certificates_of

_PATIENCE: Final = 1800.0  # seconds for all orders of one `renew`


def add_to(main: click.Group) -> None:
    """Add the commands."""
    certificate = group(main, "certificate", "The certificates that serve, and their renewal.")

    @command(certificate, "list")
    def list_(call: Call) -> None:
        """Tell which certificates serve, until when, and how their renewal goes."""
        listed = certificates_of(cast("dict[str, Any]", ask(call, "status")))
        call.answer(listed, [line for each in listed for line in describe(each)])

    @command(certificate, "renew")
    @click.option("--force", is_flag=True, help="Order all of them, whether they are due or not.")
    def renew(call: Call, force: bool) -> None:
        """Order certificates from their authority now: those that are due, missing, or failed before."""
        from valija.admin.certificates import RENEW

        renewed = cast("list[dict[str, Any]]", ask(call, RENEW, timeout=_PATIENCE, force=force))
        call.answer(renewed, [_told(each) for each in renewed] or ["no certificate comes from an authority"])
        if any(each["outcome"] == "failed" for each in renewed):
            raise Refusal("a certificate was not renewed; the one before it serves on")


def describe(certificate: dict[str, Any]) -> list[str]:
    """Return what people want to know of one, in lines."""
    by = "self-signed" if certificate["self_signed"] else f"by {certificate['issuer']}"
    lines = [
        f"{', '.join(certificate['names'])}: {certificate['source']}, {by}, until {_day(certificate['not_after'])}"
    ]
    if certificate["source"] == "acme" and certificate["self_signed"]:
        lines.append(f"  stands in for the one that is ordered for {', '.join(certificate['wanted'])}")
    if certificate["renewal"]:
        lines.append(f"  renewal on {_day(certificate['renewal'])}")
    if certificate["failures"]:
        again = _day(certificate["next_attempt"])
        lines.append(f"  not renewed ({certificate['failures']} attempts, next {again}): {certificate['last_error']}")
    return [*lines, f"  {certificate['file']}, SHA-256 {certificate['sha256']}"]


def _told(renewed: dict[str, Any]) -> str:
    reason = f": {renewed['reason']}" if renewed["reason"] else ""
    return f"{', '.join(renewed['names'])}: {renewed['outcome']}{reason}"


def _day(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
