"""The return addresses of what is forwarded: made for a sender, and understood again when a report comes back to one.

    paths = ReturnPaths("example.org", ["example.org", "example.net"], SrsKeys(data_dir / "srs.keys"), time.time, log)
    paths.made_for("ann@remote.example")     # "SRS0=K4JZ2MQA=7C=remote.example=ann@example.org"
    paths.made_for("bob@example.net")        # "": mail of a hosted domain passes SPF as it is
    paths.original("SRS0=K4JZ2MQA=7C=remote.example=ann@example.org")     # "ann@remote.example"

Where there can be no return address, as it would be too long or the key can't be had, mail leaves with its sender's own
reverse-path: SPF may fail then, a signature holds all the same.
"""

from collections.abc import Callable, Collection

from valija.content.dkim_key import KeyProblem
from valija.logs import Log
from valija.mail.address import domain_of
from valija.policy.srs import original, rewritten
from valija.srs_keys import SrsKeys


class ReturnPaths:
    """The return addresses in `domain`, one of the hosted `domains`. `clock` gives epoch seconds."""

    def __init__(
        self, domain: str, domains: Collection[str], keys: SrsKeys, clock: Callable[[], float], log: Log
    ) -> None:
        self._domain = domain
        self._domains = domains
        self._keys = keys
        self._clock = clock
        self._log = log

    def made_for(self, reverse_path: str) -> str:
        """Return what stands for a reverse-path where mail leaves that was forwarded; `""` for itself."""
        if not reverse_path or domain_of(reverse_path) in self._domains:
            return ""
        now = self._clock()
        try:
            made = rewritten(reverse_path, self._domain, self._keys.newest(now), now)
        except (KeyProblem, OSError) as problem:
            self._log.error("forwarded without a return address", reverse_path=f"<{reverse_path}>", reason=str(problem))
            return ""
        if made is None:
            self._log.info("no return address possible", reverse_path=f"<{reverse_path}>")
        return made or ""

    def original(self, address: str) -> str | None:
        """Return whose reverse-path a return address stands for, None for a forged or old one.

        Raises KeyProblem and OSError where the keys can't be had: then nobody can tell.
        """
        now = self._clock()
        return original(address, self._keys.known(now), now)


def no_return_path(_: str) -> str:
    """Return `""`: mail that is forwarded keeps its reverse-path."""
    return ""
