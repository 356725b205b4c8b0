"""A message on its way from a local program to the server, and the SMTP that says it.

    message = Message("root", ("root",), content)
    message.mail()              # b"MAIL FROM:<root@localhost>\\r\\n"
    message.rcpt("root")        # b"RCPT TO:<root@localhost>\\r\\n"

SMTP wants a domain: a name alone gets `localhost`, which the server takes for its home domain. The content goes by BDAT
(RFC 3030), as it is.
"""

from dataclasses import dataclass
from typing import Final

HELLO: Final = b"EHLO localhost\r\n"
HOME: Final = "localhost"


@dataclass(frozen=True)
class Message:
    """Envelope and content. `notify`, `ret` and `envid` are those of RFC 3461, "" for none."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    notify: str = ""
    ret: str = ""
    envid: str = ""

    def mail(self) -> bytes:
        """Return the MAIL command."""
        words = [f"MAIL FROM:<{_path(self.sender)}>"]
        if not self.content.isascii():
            words.append("BODY=8BITMIME")
        if not all(map(str.isascii, (self.sender, *self.recipients))):
            words.append("SMTPUTF8")
        if self.ret:
            words.append(f"RET={self.ret}")
        if self.envid:
            words.append(f"ENVID={_xtext(self.envid)}")
        return " ".join(words).encode() + b"\r\n"

    def rcpt(self, recipient: str) -> bytes:
        """Return the RCPT command for one of the recipients."""
        notify = f" NOTIFY={self.notify}" if self.notify else ""
        return f"RCPT TO:<{_path(recipient)}>{notify}\r\n".encode()

    def chunk(self) -> bytes:
        """Return the BDAT command that the content follows."""
        return b"BDAT %d LAST\r\n" % len(self.content)

    def to(self, recipients: tuple[str, ...]) -> "Message":
        """Return the same for others."""
        return Message(self.sender, recipients, self.content, self.notify, self.ret, self.envid)


def _path(address: str) -> str:
    return address if not address or "@" in address else f"{address}@{HOME}"


def _xtext(text: str) -> str:
    """Encode as RFC 3461 section 4 says."""
    return "".join(char if "!" <= char <= "~" and char not in "+=" else f"+{ord(char):02X}" for char in text)
