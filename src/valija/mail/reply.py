"""A reply: code, enhanced status code and text (RFC 5321 section 4.2, RFC 3463).

>>> Reply(250, "2.1.5", "Recipient ok").encode()
b'250 2.1.5 Recipient ok\\r\\n'
>>> Reply(250, "", "mail.example.org\\nPIPELINING").encode()
b'250-mail.example.org\\r\\n250 PIPELINING\\r\\n'
"""

import msgspec


class Reply(msgspec.Struct, frozen=True, gc=False):
    """One reply. Lines of a multi-line text are parted by LF; `enhanced` is `""` where RFC 2034 allows none.

    Texts that come from a peer are kept as they came (surrogate-escaped UTF-8): whoever logs or quotes them escapes.
    """

    code: int
    enhanced: str
    text: str

    @property
    def is_positive(self) -> bool:
        """2yz, or 3yz that asks for more."""
        return self.code < 400

    @property
    def is_transient(self) -> bool:
        """4yz: the same command may succeed later."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5yz: the first digit says so, whatever the enhanced code says (RFC 5321 section 4.2.1)."""
        return 500 <= self.code < 600

    def encode(self) -> bytes:
        """Return the reply as it goes over the wire, CRLF included."""
        prefix = f"{self.enhanced} " if self.enhanced else ""
        if "\n" not in self.text:
            return f"{self.code} {prefix}{self.text}\r\n".encode("utf-8", "surrogateescape")
        *lines, last = self.text.split("\n")
        text = "".join(f"{self.code}-{prefix}{line}\r\n" for line in lines)
        return f"{text}{self.code} {prefix}{last}\r\n".encode("utf-8", "surrogateescape")

    def __str__(self) -> str:
        text = self.text.replace("\n", " ")
        return f"{self.code} {self.enhanced} {text}" if self.enhanced else f"{self.code} {text}"
