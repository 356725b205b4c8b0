"""How much a client has got wrong, and when it is enough: each count has its limit in smtp/rules.

tally = Tally(rules)
tally.error()       # None, or at the limit the 421 that takes the place of the reply that was due
"""

from valija.mail.reply import Reply
from valija.smtp.answers import TOO_MANY_ERRORS, TOO_MANY_LOGINS, TOO_MANY_REFUSED, TOO_MUCH_JUNK
from valija.smtp.rules import ServerRules


class Tally:
    """The counts of one connection. An accepted message clears all but the failed logins."""

    __slots__ = ("_rules", "errors", "failed_logins", "junk", "refused_recipients")

    def __init__(self, rules: ServerRules) -> None:
        self._rules = rules
        self.errors = 0
        self.refused_recipients = 0
        self.junk = 0
        self.failed_logins = 0

    def error(self) -> Reply | None:
        """Count a syntax error, an unknown command or one out of order."""
        self.errors += 1
        return TOO_MANY_ERRORS if self.errors >= self._rules.error_limit else None

    def refused_recipient(self) -> Reply | None:
        """Count a recipient that was refused for good."""
        self.refused_recipients += 1
        return TOO_MANY_REFUSED if self.refused_recipients >= self._rules.refused_recipient_limit else None

    def moved_nothing(self) -> Reply | None:
        """Count a command that is lawful but moves no mail."""
        self.junk += 1
        return TOO_MUCH_JUNK if self.junk > self._rules.junk_command_limit else None

    def failed_login(self) -> Reply | None:
        """Count a failed login."""
        self.failed_logins += 1
        return TOO_MANY_LOGINS if self.failed_logins >= self._rules.auth_failure_limit else None

    def accepted_message(self) -> None:
        """Forgive: the client moves mail."""
        self.errors = self.refused_recipients = self.junk = 0
