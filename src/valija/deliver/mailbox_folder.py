"""The folder of a mailbox: `DOMAIN/LOCALPART` below the folder of all mail.

    >>> mailbox_folder("Alice+news@example.org")
    PurePosixPath('example.org/alice')
    >>> mailbox_folder('"../etc"@example.org')
    PurePosixPath('example.org/%2E.%2Fetc')

A mailbox is an account: case and subaddress do not count (mail/address.mailbox_key). In the local part the octets
`a-z`, `0-9`, `_`, `-`, `+`, `=` and a dot that is not the first stand for themselves; every other octet of its UTF-8 is
written as `%` and two upper-case hexadecimal digits. So no two mailboxes share a folder, and none leads elsewhere.
"""

import re
from pathlib import PurePosixPath
from typing import Final

from valija.mail.address import mailbox_key, normalise_domain, split

_ODD: Final = re.compile(rb"[^a-z0-9_+=.-]|^\.")


def mailbox_folder(address: str, delimiter: str = "+") -> PurePosixPath:
    """Return an address's folder, relative to that of all mail. Raises AddressError for what is no domain."""
    local, domain = split(mailbox_key(address, delimiter))
    return PurePosixPath(normalise_domain(domain), encode_local_part(local))


def encode_local_part(local_part: str) -> str:
    """Return a local part (its meaning, not its quoted form) as a file name; never empty, `.` or `..`."""
    octets = local_part.encode("utf-8", "surrogateescape")
    return _ODD.sub(lambda match: b"%%%02X" % match[0][0], octets).decode("ascii") or "%"
