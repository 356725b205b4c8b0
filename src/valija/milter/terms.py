"""What the two sides agree on when they meet: which steps the filter is told of, and what it may do (SMFIC_OPTNEG).

    line.write(offer())
    terms = agreed(answer.data)               # Terms; raises Nonsense
    terms.wants(Step.HELO)
    terms.is_answered(Step.HEADER)
    terms.macros.get(Stage.RCPT)              # the names that it asked for, None where it did not

Version 6, as Sendmail 8.14 and Postfix speak it. A filter of an older version takes what it knows of it.
"""

import struct
from collections.abc import Mapping
from enum import Flag, IntEnum
from typing import Final

import msgspec

from valija.milter.packets import Nonsense, packet

VERSION: Final = 6
_OLDEST: Final = 2
_FIRST_WITH_DATA: Final = 4
_THREE: Final = struct.Struct("!III")
_NUMBER: Final = struct.Struct("!I")


class Action(Flag):
    """What a filter may do to a message (SMFIF_*). MACRO_LIST: it may say which macros it wants."""

    ADD_HEADER = 0x1
    CHANGE_BODY = 0x2
    ADD_RECIPIENT = 0x4
    DELETE_RECIPIENT = 0x8
    CHANGE_HEADER = 0x10
    QUARANTINE = 0x20
    CHANGE_FROM = 0x40
    ADD_RECIPIENT_WITH_PARAMETERS = 0x80
    MACRO_LIST = 0x100


class Step(Flag):
    """What a filter is told of. The value is the bit by which it declines to be told (SMFIP_NO*)."""

    CONNECT = 0x1
    HELO = 0x2
    MAIL = 0x4
    RCPT = 0x8
    BODY = 0x10
    HEADER = 0x20
    END_OF_HEADER = 0x40
    DATA = 0x200


_SILENT: Final = {  # the bit by which a filter says that it will not answer there (SMFIP_NR_*)
    Step.HEADER: 0x80,
    Step.CONNECT: 0x1000,
    Step.HELO: 0x2000,
    Step.MAIL: 0x4000,
    Step.RCPT: 0x8000,
    Step.DATA: 0x10000,
    Step.END_OF_HEADER: 0x40000,
    Step.BODY: 0x80000,
}
_NO_UNKNOWN: Final = 0x100  # unknown commands, which are not told of here
_NO_ANSWER_TO_UNKNOWN: Final = 0x20000
_SKIP: Final = 0x400
_LEADING_BLANK: Final = 0x100000

_ACTIONS: Final = sum(action.value for action in Action)
_STEPS: Final = (
    sum(step.value for step in Step)
    | sum(_SILENT.values())
    | _NO_UNKNOWN
    | _NO_ANSWER_TO_UNKNOWN
    | _SKIP
    | _LEADING_BLANK
)


class Stage(IntEnum):
    """Where macros are given (SMFIM_*)."""

    CONNECT = 0
    HELO = 1
    MAIL = 2
    RCPT = 3
    DATA = 4
    END_OF_MESSAGE = 5
    END_OF_HEADER = 6


class Terms(msgspec.Struct, frozen=True):
    """What was agreed on: `actions` and `steps` are the protocol's bits, `macros` those that were asked for."""

    version: int = VERSION
    actions: int = 0
    steps: int = 0
    macros: Mapping[Stage, tuple[str, ...]] = {}

    def wants(self, step: Step) -> bool:
        """Whether the filter is told of a step."""
        return not self.steps & step.value

    def is_answered(self, step: Step) -> bool:
        """Whether the filter answers there."""
        return not self.steps & _SILENT[step]

    def allows(self, action: Action) -> bool:
        """Whether the filter said that it may do that."""
        return bool(self.actions & action.value)

    @property
    def has_leading_blanks(self) -> bool:
        """Whether a field's value is told with the blank behind its colon, and so returned."""
        return bool(self.steps & _LEADING_BLANK)


def offer() -> bytes:
    """Return the packet that begins the talk."""
    return packet(b"O", _THREE.pack(VERSION, _ACTIONS, _STEPS))


def agreed(data: bytes) -> Terms:
    """Return what a filter's answer to the offer comes to. Raises Nonsense."""
    if len(data) < _THREE.size:
        raise Nonsense("its answer to the offer of options is too short")
    version, actions, steps = _THREE.unpack_from(data)
    if not _OLDEST <= version <= VERSION:
        raise Nonsense(f"it speaks version {version} of the milter protocol, which is spoken here from 2 to {VERSION}")
    if version < _FIRST_WITH_DATA:  # it can't decline what it does not know
        steps |= Step.DATA.value
    if actions & ~_ACTIONS:
        raise Nonsense(f"it wants to do what was not offered: {actions & ~_ACTIONS:#x}")
    return Terms(version, actions, steps & _STEPS, _macros(data[_THREE.size :]))


def _macros(data: bytes) -> dict[Stage, tuple[str, ...]]:
    found: dict[Stage, tuple[str, ...]] = {}
    while data:
        names, end, rest = data[_NUMBER.size :].partition(b"\0")
        if len(data) < _NUMBER.size or not end:
            raise Nonsense("its list of macros is cut off")
        (number,) = _NUMBER.unpack_from(data)
        if number in Stage.__members__.values():
            found[Stage(number)] = tuple(names.decode("ascii", "replace").replace(",", " ").split())
        data = rest
    return found
