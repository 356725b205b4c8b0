"""A fault in what somebody wrote into the configuration: the value as written, why it is refused, and the remedy.

>>> str(Fault("10.0.0.1/8", "it has host bits set", "write 10.0.0.0/8"))
"'10.0.0.1/8': it has host bits set; write 10.0.0.0/8"
"""

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """One refused value. Whoever knows the key puts it in front. `value` is no string where the entry was none."""

    value: object
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.value!r}: {self.reason}; {self.remedy}"
