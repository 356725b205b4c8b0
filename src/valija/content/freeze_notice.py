"""What people are told when an account is frozen: its owner, elsewhere than by the account, and the postmaster.

content = notice_to_postmaster(FrozenAccount(...), now=now, unique="5f3a")
content = notice_to_owner(FrozenAccount(...), now=now, unique="5f3b", language="both")
"""

from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from valija.content.compose import date_time, encoded_words, field, readable

Language = Literal["en", "es", "both"]

HELD_BEFORE: Final = 86_400.0
"""So many seconds before the misuse seems to have begun, what came since is held: it may have begun earlier."""

_LONGEST: Final = 500  # characters of a text from elsewhere


class FrozenAccount(msgspec.Struct, frozen=True):
    """What there is to say. `postmaster` is whom to ask; `recipient` who is told; moments are in epoch seconds."""

    login: str
    hostname: str
    postmaster: str
    recipient: str
    reason: str
    at: float
    began: float


def notice_to_postmaster(account: FrozenAccount, *, now: float, unique: str) -> bytes:
    """Return the content; `unique` makes its Message-ID."""
    login = readable(account.login, _LONGEST)
    words = (
        f"The account {login} is frozen since {_utc(account.at)}:\n"
        f"{readable(account.reason, _LONGEST)}.\n"
        "\n"
        "It can't log in, and its open sessions can't send. What it had in the queue is on hold,\n"
        f"as far as it came after {_utc(account.began - HELD_BEFORE)}. The misuse seems to have begun at\n"
        f"{_utc(account.began)}.\n"
        "\n"
        "What to do:\n"
        f"- see what waits:                     valija queue list\n"
        f"- if the password was stolen, set a new one, delete what came since then, and let\n"
        f"  the account go on:                  valija user passwd {login}\n"
        f"                                      valija user unfreeze {login} --purge\n"
        f"- if it was its owner, let it all go: valija user unfreeze {login} --release\n"
    )
    return _message(account, f"Account frozen: {login}", words, now=now, unique=unique)


def notice_to_owner(account: FrozenAccount, *, now: float, unique: str, language: Language) -> bytes:
    """Return the content; `unique` makes its Message-ID."""
    login, reason = readable(account.login, _LONGEST), readable(account.reason, _LONGEST)
    english = (
        f"Your mail account {login} was frozen at {_utc(account.at)}:\n"
        f"{reason}.\n"
        "\n"
        "Nobody can send mail with it now, neither you nor whoever else may know its password. Mail\n"
        "for you still arrives. Was it not you? Then somebody has your password: change it wherever you\n"
        "use it, and look for what else it opens.\n"
        "\n"
        f"Ask {account.postmaster} to have the account opened again.\n"
    )
    spanish = (
        f"Su cuenta de correo {login} fue bloqueada el {_utc(account.at)}:\n"
        f"{reason}.\n"
        "\n"
        "Ahora nadie puede enviar correo con ella, ni usted ni quien más conozca la contraseña. El\n"
        "correo para usted sigue llegando. ¿No fue usted? Entonces alguien tiene su contraseña: cámbiela\n"
        "donde la use y revise qué más abre.\n"
        "\n"
        f"Pida a {account.postmaster} que desbloquee la cuenta.\n"
    )
    subjects = {"en": "Your account is frozen", "es": "Su cuenta está bloqueada"}
    words = {"en": english, "es": spanish, "both": f"{english}\n--\n\n{spanish}"}[language]
    subject = subjects.get(language, " / ".join(subjects.values()))
    return _message(account, subject, words, now=now, unique=unique)


def _message(account: FrozenAccount, subject: str, words: str, *, now: float, unique: str) -> bytes:
    header = b"".join(
        (
            field("From", f"Mail server <{account.postmaster}>"),
            field("To", f"<{account.recipient}>"),
            field("Subject", encoded_words(subject)),
            field("Date", date_time(now)),
            field("Message-ID", f"<{unique}@{account.hostname}>"),
            field("Auto-Submitted", "auto-generated"),
            field("MIME-Version", "1.0"),
            field("Content-Type", "text/plain; charset=utf-8"),
            field("Content-Transfer-Encoding", "8bit"),
        )
    )
    return header + b"\r\n" + words.encode("utf-8", "backslashreplace").replace(b"\n", b"\r\n")


def _utc(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
