"""What one test says of a server.

    test = Question("smtp-relay-plain", "a stranger's mail to elsewhere", 25)
    test.good(evidence)
    test.bad(evidence, "let only mynetworks and users relay")

`id` is the role of the port and the name of the test: what scripts may rely on. `evidence` are lines of the
conversation, or what was found; `remedy` says what to do.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from valija.probe.wire import Gone, NotOpened, Silent

Verdict = Literal["good", "bad", "warning", "unknown", "not tested"]


class Judgement(msgspec.Struct, frozen=True):
    """The end of one test. `warning` is no fault; `not tested` says why in `evidence`."""

    id: str
    what: str
    port: int
    verdict: Verdict
    evidence: tuple[str, ...] = ()
    remedy: str = ""


class Question(msgspec.Struct, frozen=True):
    """One test of one port, waiting for its verdict."""

    id: str
    what: str
    port: int

    def good(self, evidence: Sequence[str] = ()) -> Judgement:
        """It is as it should be."""
        return self._ends("good", evidence)

    def bad(self, evidence: Sequence[str], remedy: str) -> Judgement:
        """Mail or passwords would suffer, or others would through this server."""
        return self._ends("bad", evidence, remedy)

    def warning(self, evidence: Sequence[str], remedy: str) -> Judgement:
        """It could be better."""
        return self._ends("warning", evidence, remedy)

    def unknown(self, evidence: Sequence[str], remedy: str = "") -> Judgement:
        """It could not be found out."""
        return self._ends("unknown", evidence, remedy)

    def ended(self, why: Gone) -> Judgement:
        """The server ended the session: that is a refusal. If there was none, or no answer, nothing is known."""
        is_open_question = isinstance(why, NotOpened | Silent)
        return self.unknown((str(why),)) if is_open_question else self.good((f"the session ends: {why}",))

    def not_tested(self, why: str) -> Judgement:
        """It was left out."""
        return self._ends("not tested", (why,))

    def _ends(self, verdict: Verdict, evidence: Sequence[str], remedy: str = "") -> Judgement:
        return Judgement(self.id, self.what, self.port, verdict, tuple(evidence), remedy)
