"""The one line that a session leaves in the log when it is over: who came, how, and what came of it."""

from typing import Protocol

from valija.mail.origin import TlsFacts
from valija.receive.peer import Peer
from valija.receive.site import Site
from valija.smtp.server import ServerMachine


class Ended(Protocol):
    """A session that is over. `started` is when it began, by the site's clock."""

    id: str
    site: Site
    peer: Peer
    machine: ServerMachine
    tls: TlsFacts | None
    tls_failure: str
    login: str
    messages: int
    started: float


def write_line(session: Ended, how: str) -> None:
    """Write the line; `how` it ended."""
    tls, machine, site = session.tls, session.machine, session.site
    site.log.info(
        "session",
        session=session.id,
        role=site.role,
        client=session.peer.address,
        helo=machine.hello_name,
        tls=tls.version if tls else "none",
        cipher=tls.cipher if tls else "",
        login=session.login,
        messages=session.messages,
        errors=machine.errors,
        seconds=round(site.clock() - session.started, 3),
        ended=f"{how}: {session.tls_failure}" if session.tls_failure else how,
    )
