"""One mail transaction of a session, from its accepted MAIL on: who it is from, who it is for, and what was granted.

transaction = Transaction(mail, granted=None, spending=None)
transaction.add(recipient, "mynetworks 192.0.2.0/24")      # None, or why it can't be one of the recipients
transaction.envelope()
"""

from valija.mail.envelope import Envelope, Recipient
from valija.mail.reply import Reply
from valija.policy.requests import Granted
from valija.receive.site import Spending
from valija.smtp.events import Mail


class Transaction:
    """What has been said of the envelope so far. `rules` are those by which recipients were let through."""

    __slots__ = ("_granted", "mail", "recipients", "rules", "spending")

    def __init__(self, mail: Mail, granted: Granted | None, spending: Spending | None) -> None:
        self.mail = mail
        self.recipients: list[Recipient] = []
        self.rules: list[str] = []
        self.spending = spending
        self._granted = granted

    def add(self, recipient: Recipient, rule: str) -> Reply | None:
        """Take a recipient; return why it can't be one, where its sender has used up what he may send."""
        if self.spending is not None and (refusal := self.spending.add(recipient.address)):
            return refusal
        if rule not in self.rules:
            self.rules.append(rule)
        self.recipients.append(recipient)
        return None

    def envelope(self) -> Envelope:
        """Return the envelope."""
        mail = self.mail
        # A binary content is converted before it is stored, and parts of it may be 8bit then.
        body = "8BITMIME" if mail.body == "BINARYMIME" else mail.body
        envelope = Envelope(mail.reverse_path, tuple(self.recipients), body, mail.smtputf8, mail.ret, mail.envid)
        return envelope if self._granted is None else self._granted.applied_to(envelope)
