"""What units are made of."""

import msgspec

from valija.mail.endpoint import Endpoint
from valija.systemd.sandbox import Work
from valija.systemd.units import UnitFacts

WORK = Work(user="valija", data_dir="/var/lib/valija", paths=("/opt/valija/bin/valija", "/etc/valija/valija.toml"))
FACTS = UnitFacts(
    program="/opt/valija/bin/valija",
    configuration="/etc/valija/valija.toml",
    work=WORK,
    listen={
        "smtpd": (Endpoint("0.0.0.0", 25), Endpoint("::", 25)),
        "submission": (Endpoint("0.0.0.0", 587),),
        "submissions": (),
    },
)
AS_ROOT = msgspec.structs.replace(
    FACTS,
    work=msgspec.structs.replace(WORK, starts_as_root=True, judges_logins=True),
    why_root=('[sasl] type = "pam"',),
)


def facts(**changed: object) -> UnitFacts:
    return msgspec.structs.replace(FACTS, **changed)


def work(**changed: object) -> Work:
    return msgspec.structs.replace(WORK, **changed)


def settings(text: str) -> dict[str, list[str]]:
    """Return the settings of a unit, in all its sections."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found
