"""Renewals in the running server: the keeper of valija/tls/acme_keeper, with this server's workers and ports around it.

    renewing = Renewing(standing, sockets, log)
    supervisor = Supervisor(..., handlers=renewing.handlers, ...)
    await renewing.run(supervisor)              # until cancelled

A new certificate serves when the supervisor and each worker have taken it up, and each port that speaks TLS presents
it.
"""

import asyncio
import random
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from valija.admin.certificates import RENEW, CertificateStatus, certificate_statuses
from valija.admin.control import Arguments, ControlError, Handler
from valija.config import Config
from valija.logs import Log
from valija.mail.endpoint import Endpoint
from valija.mail.origin import Role
from valija.supervisor import Supervisor
from valija.tls.acme_keeper import Keeper, Renewed
from valija.tls.options import CertificateOptions
from valija.tls.presented import NotAnswering, presented
from valija.tls.sni import Certificates


class InForce(Protocol):
    """Tells what holds now; a reload changes it."""

    def config(self) -> Config:
        """Return the configuration in force."""

    def certificates(self) -> Certificates:
        """Return the certificates in force."""


class RenewArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `valija certificate renew` asks."""

    force: bool = False


class Renewing:
    """`sockets` are bound at the endpoints that `bound` names, for challenges."""

    def __init__(
        self, in_force: InForce, bound: Sequence[Endpoint], sockets: Sequence[socket.socket], log: Log
    ) -> None:
        self._in_force = in_force
        self._bound = tuple(bound)
        self._sockets = sockets
        self._log = log
        self._keeper = Keeper(log, self._take_up, clock=time.time, chance=random.random)
        self._supervisor: Supervisor | None = None

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What the control socket can ask."""
        return {RENEW: self._on_renew}

    def statuses(self) -> list[CertificateStatus]:
        """Return what there is to tell of the certificates in force."""
        return certificate_statuses(self._in_force.config(), self._in_force.certificates())

    def use_what_is_in_force(self) -> None:
        """Keep what the configuration in force wants from now on."""
        config = self._in_force.config()
        sockets = self._sockets if config.tls.challenge_listen == self._bound else ()
        self._keeper.use(config.tls, config.hostname, config.data_dir, sockets)

    async def run(self, supervisor: Supervisor) -> None:
        """Renew what falls due, from when the workers are ready until the server stops."""
        self._supervisor = supervisor
        await supervisor.ready.wait()
        self.use_what_is_in_force()
        keeping = asyncio.create_task(self._keeper.run())
        try:
            await supervisor.stopping.wait()
        finally:
            keeping.cancel()  # now, not after the sessions have ended: an order has something to clean up
            await asyncio.gather(keeping, return_exceptions=True)

    async def _on_renew(self, arguments: Arguments) -> list[Renewed]:
        try:
            asked = msgspec.convert(dict(arguments), RenewArguments)
        except msgspec.ValidationError as error:
            raise ControlError(f"no renewal: {error}") from None
        return await self._keeper.renew(force=asked.force)

    # Taking up a new certificate

    async def _take_up(self, wanted: CertificateOptions, sha256: str) -> str:
        """Have all processes look at their files; return why the one with this fingerprint does not serve."""
        assert self._supervisor
        self._in_force.certificates().refresh()
        serving = await self._supervisor.certificates_of_workers()
        if not sha256:
            return ""
        late = [number for number, prints in serving.items() if sha256 not in prints]
        if late:
            return f"not taken up by worker {', '.join(map(str, late))}"
        return await self._look_at_ports(wanted, sha256)

    async def _look_at_ports(self, wanted: CertificateOptions, sha256: str) -> str:
        config = self._in_force.config()
        name = wanted.names[0].replace("*", "valija")
        ports = [
            self._look_at(role, endpoint, name, sha256)
            for role, options in config.listeners.items()
            for endpoint in options.listen
            if options.tls_security_level != "none"
        ]
        return "; ".join(filter(None, await asyncio.gather(*ports)))

    async def _look_at(self, role: Role, endpoint: Endpoint, name: str, sha256: str) -> str:
        """Return what is wrong with what a port presents; a port that cannot be asked is no reason, but is told."""
        try:
            found = await presented(endpoint, name, starttls=role != "submissions")
        except ssl.SSLError as error:
            return f"[{role}] {endpoint}: the handshake fails ({error.reason or error})"
        except (NotAnswering, OSError) as error:
            reason = str(error) or "no answer in time"
            self._log.warning("certificate not looked at", listener=role, endpoint=str(endpoint), reason=reason)
            return ""
        return "" if found == sha256 else f"[{role}] {endpoint} presents another certificate"
