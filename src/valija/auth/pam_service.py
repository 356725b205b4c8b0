"""Which of PAM's services judges logins, and what to write where there is none.

    find_service("valija")          # Service("valija"), or Service("other") where there is no file of that name
    service_text()                  # the lines of a file for it, as this system likes them

PAM takes its service `other` for one that has no file. That is Debian's own rule for all programs, and so the default
service works without a file of its own; a name that was written out must be there. Where `other` lets nobody in (Red
Hat's), using it would tell every user that the password is wrong: that is refused.
"""

import re
from pathlib import Path
from typing import Final

import msgspec

DEFAULT: Final = "valija"
OTHER: Final = "other"
FOLDERS: Final = (Path("/etc/pam.d"), Path("/usr/lib/pam.d"), Path("/usr/etc/pam.d"))
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_DENIES = re.compile(r"-?(auth|account)\s+\S+\s+(?:\S*/)?pam_deny\.so\b")
_COMMENT = re.compile(r"#.*")


class ServiceMissing(Exception):
    """No service could judge; the text says which one is missing, and what to write."""


class Service(msgspec.Struct, frozen=True):
    """The service that judges. `stands_in` tells that the one that was wanted has no file."""

    name: str
    stands_in: bool = False


def name_fault(name: str) -> tuple[str, str] | None:
    """Return what is wrong with a service's name, and the remedy; None where nothing is."""
    if _NAME.fullmatch(name):
        return None
    return "it is not the name of a PAM service", f'name a file in {FOLDERS[0]}, such as "{DEFAULT}"'


def find_service(name: str, folders: tuple[Path, ...] = FOLDERS) -> Service:
    """Return the service that judges logins for a name in the configuration. Raises ServiceMissing."""
    if _file_of(name, folders):
        return Service(name)
    other = _file_of(OTHER, folders)
    if name != DEFAULT or other is None or _lets_nobody_in(other):
        raise ServiceMissing(f"PAM has no service {name!r}; {remedy(name, folders)}")
    return Service(OTHER, stands_in=True)


def remedy(name: str, folders: tuple[Path, ...] = FOLDERS) -> str:
    """Return in one line what gives PAM a service of that name."""
    lines = "\\n".join(service_text(folders).splitlines())
    return f"printf '{lines}\\n' > {folders[0] / name}"


def service_text(folders: tuple[Path, ...] = FOLDERS) -> str:
    """Return the lines of a service that judges as the system does: who the user is, and whether they still are."""
    if _file_of("common-auth", folders):
        return "@include common-auth\n@include common-account\n"
    if _file_of("system-auth", folders):
        return "auth include system-auth\naccount include system-auth\n"
    return "auth required pam_unix.so\naccount required pam_unix.so\n"


def _file_of(name: str, folders: tuple[Path, ...]) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _lets_nobody_in(file: Path) -> bool:
    """Whether a service denies all by its own first word on it; what others it includes say is theirs."""
    try:
        lines = [_COMMENT.sub("", line).strip() for line in file.read_text(errors="replace").splitlines()]
    except OSError:
        return False
    first = next((line for line in lines if line.startswith(("auth", "-auth", "@include"))), "")
    return not first or bool(_DENIES.match(first))
