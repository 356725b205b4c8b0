"""What is remembered of a certificate's renewals over restarts: a crash loop must not use up an authority's patience.

    state = read_state(files.state)                         # a fresh one where the file is missing or damaged
    write_state(files.state, state.failed("...", now, again_at))

Times are seconds since the epoch, 0 for none.
"""

from pathlib import Path

import msgspec

from valija.mail.unreadable import UNREADABLE
from valija.tls.acme_files import make_private, write_private
from valija.tls.acme_schedule import FailureKind


class RenewalState(msgspec.Struct, frozen=True):
    """`serial` tells which certificate `renew_at`, `window` and `ask_at` (for the window) belong to."""

    serial: str = ""
    renew_at: float = 0.0
    window: tuple[float, float] | None = None
    ask_at: float = 0.0
    failures: int = 0
    last_error: str = ""
    last_kind: FailureKind = "ours"
    last_attempt: float = 0.0
    not_before: float = 0.0
    names: tuple[str, ...] = ()

    def failed(
        self, reason: str, kind: FailureKind, now: float, not_before: float, names: tuple[str, ...]
    ) -> "RenewalState":
        """Return the state after an attempt for `names` that came to nothing; no other is made before `not_before`."""
        return msgspec.structs.replace(
            self,
            failures=self.failures + 1,
            last_error=reason,
            last_kind=kind,
            last_attempt=now,
            not_before=not_before,
            names=names,
        )


def read_state(path: Path) -> RenewalState:
    """Return what was remembered."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=RenewalState)
    except (OSError, *UNREADABLE):
        return RenewalState()


def write_state(path: Path, state: RenewalState) -> None:
    """Remember. Raises OSError."""
    make_private(path.parent)
    write_private(path, msgspec.json.encode(state))
