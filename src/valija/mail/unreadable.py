"""What reading a message of somebody else's in JSON or MessagePack may raise: not all of it has one ancestor.

try:
    request = msgspec.json.decode(line, type=Request)
except UNREADABLE:
    ...
"""

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Neither octets that are no UTF-8 nor endless nesting are errors of msgspec's own kind."""
