"""From the addresses of one host to a connection with it.

session = await dialer.dial(targets, make_session, patience=30.0)
if isinstance(session, Failure): ...      # no address of the host answered
"""

import asyncio
from collections.abc import Callable, Sequence

from valija.deliver.errand import Failure, Peer, Target
from valija.deliver.session import Session
from valija.mail.reply import Reply

MakeSession = Callable[[Target], Session]


class Dialer:
    """Makes connections."""

    async def dial(
        self, targets: Sequence[Target], make_session: MakeSession, *, patience: float, pool: str = ""
    ) -> Session | Failure:
        """Return a session with one of the addresses of a host, before its banner; they share `patience` seconds.

        `pool` names the source addresses to leave from.
        """
        failure: Failure | None = None
        for target in targets:
            session = await self._connect(target, make_session, patience / len(targets))
            if isinstance(session, Session):
                return session
            failure = session
        assert failure is not None
        return failure

    async def _connect(self, target: Target, make_session: MakeSession, patience: float) -> Session | Failure:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(patience):
                _, session = await loop.create_connection(lambda: make_session(target), target.address, target.port)
        except TimeoutError:
            return _unreachable(target, f"no answer within {patience:g} s")
        except OSError as error:
            return _unreachable(target, error.strerror or str(error))
        return session


def _unreachable(target: Target, why: str) -> Failure:
    return Failure(Reply(450, "4.4.1", f"No connection to {target}: {why}"), Peer(target))
