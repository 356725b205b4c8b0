"""The life of a DKIM key: waiting (its record is being published), signing, retired (its record is still needed).

    waiting --activate--> signing --another one is activated, or retire--> retired --a margin--> its record may go

    keys = activated(keys, "20260301", now)          # the one that signed so far is retired
    {key.selector for key in signers(keys)}          # one of each kind
    may_go(key, now)

Everything is a pure function of the keys of one domain and the time, in seconds since the epoch.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

Stage = Literal["waiting", "signing", "retired"]

MARGIN: Final = 7 * 86400.0
"""Seconds that a record stays after the last message signed by its key left: others may verify late."""


class KeyStage(msgspec.Struct, frozen=True):
    """Where a key stands, and since when. `queued` is when a message signed by it was last seen in the queue."""

    selector: str
    kind: str
    stage: Stage
    since: float
    queued: float = 0.0


class StageProblem(ValueError):
    """A step that the key cannot take; the message says why and what to do."""


def signers(keys: Iterable[KeyStage]) -> list[KeyStage]:
    """Return the keys that sign, one of a kind: of several the one whose selector sorts last."""
    last: dict[str, KeyStage] = {}
    for key in sorted(keys, key=lambda key: key.selector):
        if key.stage == "signing":
            last[key.kind] = key
    return list(last.values())


def settled(keys: Sequence[KeyStage]) -> list[KeyStage]:
    """Return the keys with those retired that another one of their kind has overtaken without anybody saying so."""
    signing = {key.kind: key for key in signers(keys)}
    return [
        msgspec.structs.replace(key, stage="retired", since=max(key.since, signing[key.kind].since))
        if key.stage == "signing" and signing[key.kind] != key
        else key
        for key in keys
    ]


def activated(keys: Sequence[KeyStage], selector: str, now: float) -> list[KeyStage]:
    """Return the keys after `selector` began to sign. Raises StageProblem."""
    chosen = _find(keys, selector)
    if chosen in signers(keys):
        raise StageProblem(f"the key {selector} signs already")
    return [
        msgspec.structs.replace(key, stage="signing", since=now)
        if key == chosen
        else _retired(key, now)
        if key.kind == chosen.kind and key.stage == "signing"
        else key
        for key in settled(keys)
    ]


def retired(keys: Sequence[KeyStage], selector: str, now: float, *, may_be_last: bool = False) -> list[KeyStage]:
    """Return the keys after `selector` ceased to sign, or to wait. Raises StageProblem."""
    chosen = _find(keys, selector)
    if chosen.stage == "retired":
        raise StageProblem(f"the key {selector} is retired already")
    if [key.selector for key in signers(keys)] == [selector] and not may_be_last:
        raise StageProblem(f"the key {selector} is the only one that signs: activate another one first")
    return [_retired(key, now) if key.selector == selector else key for key in settled(keys)]


def _find(keys: Sequence[KeyStage], selector: str) -> KeyStage:
    for key in settled(keys):
        if key.selector == selector:
            return key
    raise StageProblem(f"there is no key {selector}")


def _retired(key: KeyStage, now: float) -> KeyStage:
    return msgspec.structs.replace(key, stage="retired", since=now)


def seen_queued(keys: Sequence[KeyStage], selector: str, now: float) -> list[KeyStage]:
    """Return the keys after a message signed by `selector` was seen in the queue."""
    return [msgspec.structs.replace(key, queued=now) if key.selector == selector else key for key in keys]


def may_go(key: KeyStage, now: float) -> bool:
    """Whether the record of a key is needed no more: nothing signed by it has been on its way for the margin."""
    return key.stage == "retired" and now >= max(key.since, key.queued) + MARGIN


def due(keys: Sequence[KeyStage], now: float, every: float) -> list[str]:
    """Return the kinds whose key has signed for `every` seconds, and that have no successor waiting."""
    waiting = {key.kind for key in keys if key.stage == "waiting"}
    return [key.kind for key in signers(keys) if now - key.since >= every and key.kind not in waiting]
