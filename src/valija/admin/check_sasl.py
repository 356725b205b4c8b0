"""What `valija check` finds about logins: can the service's user reach who judges them, and what is offered then."""

from collections.abc import Iterator
from functools import partial

import msgspec

from valija.admin.asked_as import asked_as
from valija.admin.findings import Finding, failure, fine, unknown, warning
from valija.auth.dovecot_socket import Obstacle, mechanisms_at
from valija.auth.pam_service import ServiceMissing, find_service, remedy
from valija.config import Config
from valija.privileges import PrivilegeError, running_as_root


class _Answer(msgspec.Struct):
    """What asking Dovecot came to, on its way from one process to another."""

    mechanisms: tuple[str, ...] = ()
    obstacle: Obstacle | None = None


def check_sasl(config: Config) -> Iterator[Finding]:
    """Yield the findings. Dovecot is asked, for some seconds at most."""
    if not (config.submission.listen or config.submissions.listen):
        return
    match config.sasl.type:
        case "dovecot":
            yield from _check_dovecot(config)
        case "pam":
            yield _check_pam(config.sasl.pam_service)
        case "accounts":
            yield fine("logins", 'judged by accounts: [sasl] type = "accounts"')


def _check_pam(wanted: str) -> Finding:
    if not running_as_root():
        text = "only root may ask PAM of others: started by you, the server would refuse to run"
        return unknown("logins", text, "start it as root, it becomes `user`")
    try:
        service = find_service(wanted)
    except ServiceMissing as missing:
        return failure("logins", str(missing))
    if service.stands_in:
        text = f"judged by PAM's service {service.name!r}, since there is none called {wanted!r}"
        return warning("logins", text, remedy(wanted))
    return fine("logins", f"judged by PAM's service {service.name!r}")


def _check_dovecot(config: Config) -> Iterator[Finding]:
    try:
        said = asked_as(config.user, partial(_ask, config.sasl.path))
    except PrivilegeError:
        return  # said already, of the user
    answer = msgspec.json.decode(said, type=_Answer)
    if answer.obstacle:
        yield failure("logins", f"Dovecot can't be asked: {answer.obstacle.reason}", answer.obstacle.remedy)
    else:
        yield fine("logins", f"judged by Dovecot at {config.sasl.path}: {', '.join(answer.mechanisms)}")


def _ask(path: str) -> bytes:
    found = mechanisms_at(path)
    return msgspec.json.encode(_Answer(obstacle=found) if isinstance(found, Obstacle) else _Answer(found))
