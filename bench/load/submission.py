"""Submission as users' programs do it: `python -m bench.load.submission PORT MESSAGES SESSIONS OCTETS ACCOUNTS`.

A connection a message: EHLO, STARTTLS with a whole handshake, EHLO, AUTH PLAIN, one message, QUIT. The accounts take
turns.
"""

import asyncio
import base64
import sys
import time
from collections.abc import Sequence

import msgspec
import uvloop

from bench.load.talk import EHLO, Talk, Unexpected, any_certificate, message


class SubmissionReport(msgspec.Struct, frozen=True):
    """Messages accepted, in how many seconds, and the first fault, "" for none."""

    accepted: int
    seconds: float
    fault: str


class _Load:
    def __init__(self, port: int, messages: int, octets: int, accounts: int) -> None:
        self._port = port
        self._left = messages
        self._octets = octets
        self._accounts = accounts
        self._context = any_certificate()
        self.accepted = 0
        self.fault = ""

    async def session(self) -> None:
        """Submit message after message."""
        while self._left > 0:
            self._left -= 1
            try:
                await self._submit(self._left % self._accounts + 1)
            except (Unexpected, OSError) as error:
                self.fault = self.fault or str(error)
            else:
                self.accepted += 1

    async def _submit(self, account: int) -> None:
        user = f"u{account}@src.test"
        login = base64.b64encode(f"\0{user}\0secret{account}".encode())
        talk = await Talk.open(self._port)
        try:
            await talk.ask(EHLO, b"250")
            await talk.start_tls(self._context)
            await talk.ask(b"AUTH PLAIN " + login + b"\r\n", b"235")
            await talk.send_message(user, message(self._octets, user))
            await talk.ask(b"QUIT\r\n", b"221")
        finally:
            talk.close()


async def submit(port: int, messages: int, sessions: int, octets: int, accounts: int) -> SubmissionReport:
    """Submit messages over so many sessions at a time."""
    load = _Load(port, messages, octets, accounts)
    began = time.monotonic()
    await asyncio.gather(*[load.session() for _ in range(sessions)])
    return SubmissionReport(load.accepted, time.monotonic() - began, load.fault)


def main(arguments: Sequence[str]) -> None:
    """Submit, and print the report."""
    print(msgspec.json.encode(uvloop.run(submit(*map(int, arguments)))).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
