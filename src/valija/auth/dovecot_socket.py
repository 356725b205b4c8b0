"""Where Dovecot's authentication socket is, and in words what keeps this process from it.

    mechanisms_at("/run/dovecot/auth-client")     # a socket's path, or "inet:127.0.0.1:12345"
    # ("PLAIN", "LOGIN"), or
    # Obstacle("/run/...: user valija may not write to it, which is root:root 0600", "valija dovecot-config prints ...")

Known weakness: access lists and security modules are not looked at; where they bar the way, the words are general.
"""

import errno
import grp
import os
import pwd
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from valija.auth.dovecot_protocol import DovecotLink, Nonsense
from valija.auth.options import INET, host_and_port

OPENING: Final = 5.0  # seconds for a connection and Dovecot's first words

_LINES: Final = "valija dovecot-config prints the lines that Dovecot needs"


class Obstacle(msgspec.Struct, frozen=True):
    """What is in the way, and what to do about it."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


def mechanisms_at(path: str) -> tuple[str, ...] | Obstacle:
    """Ask Dovecot now, waiting for it some seconds at most; return what it offers."""
    link = DovecotLink(os.getpid())
    try:
        with _socket_to(path) as line:
            line.settimeout(OPENING)
            line.sendall(link.hello)
            while not link.is_ready:
                octets = line.recv(4096)
                if not octets:
                    return closed_at_once(path)
                link.receive(octets)
    except Nonsense as nonsense:
        return speaks_nonsense(path, nonsense)
    except TimeoutError:
        return is_silent(path)
    except OSError as error:
        return unreachable(path, error)
    return link.mechanisms or offers_nothing(path)


def _socket_to(path: str) -> socket.socket:
    if path.startswith(INET):
        return socket.create_connection(host_and_port(path), OPENING)
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.settimeout(OPENING)
        line.connect(path)
    except BaseException:
        line.close()
        raise
    return line


# What can be wrong


def is_silent(path: str) -> Obstacle:
    """It takes connections and says nothing, or not enough."""
    return Obstacle(
        f"{path}: it takes a connection and does not introduce itself as Dovecot does",
        f"see that Dovecot runs well (its log tells), and that this is a socket for logins: {_LINES}",
    )


def closed_at_once(path: str) -> Obstacle:
    """It hangs up before it has introduced itself."""
    return Obstacle(f"{path}: Dovecot hangs up at once", "its own log says why")


def speaks_nonsense(path: str, nonsense: Nonsense) -> Obstacle:
    """Somebody else listens there."""
    return Obstacle(f"{path}: that is not Dovecot's auth protocol: {nonsense}", "name Dovecot's socket: [sasl] path")


def offers_nothing(path: str) -> Obstacle:
    """It has no mechanism that may be used."""
    return Obstacle(
        f"{path}: Dovecot offers no mechanism that can be used",
        "let its configuration say auth_mechanisms = plain login",
    )


def unreachable(path: str, error: OSError) -> Obstacle:
    """Return why there is no connection."""
    if path.startswith(INET):
        remedy = f"see that Dovecot runs, with an inet_listener there: {_LINES}"
        return Obstacle(f"{path}: {error.strerror or error}", remedy)
    what = _OF_PATHS.get(error.errno or 0)
    return what(Path(path)) if what else Obstacle(f"{path}: {error.strerror or error}", "see that Dovecot runs well")


def _is_missing(path: Path) -> Obstacle:
    absent = next(part for part in [*reversed(path.parents), path] if not os.path.lexists(part) or part == path)
    what = "there is no such socket" if absent == path else f"there is no folder {absent}"
    return Obstacle(f"{path}: {what}", f"see that Dovecot runs: {_LINES}")


def _is_deserted(path: Path) -> Obstacle:
    if not path.is_socket():
        return Obstacle(f"{path}: that is no socket", "name Dovecot's socket: [sasl] path")
    return Obstacle(f"{path}: nobody listens there any more", "see that Dovecot runs")


def _is_barred(path: Path) -> Obstacle:
    """Name the Unix permission that is missing on the way to a socket."""
    me = _user_name(os.geteuid())
    for part in [*reversed(path.parents), path]:
        try:
            status = part.stat()
        except OSError as error:
            return Obstacle(f"{path}: user {me} can't look at {part}: {error.strerror}", f"let {me} in there")
        is_folder = stat.S_ISDIR(status.st_mode)
        if not os.access(part, os.X_OK if is_folder else os.W_OK, effective_ids=True):
            owner = f"{_user_name(status.st_uid)}:{_group_name(status.st_gid)} {stat.S_IMODE(status.st_mode):04o}"
            need = "enter" if is_folder else "write to"
            reason = f"{path}: user {me} may not {need} {part}, which is {owner}"
            elsewhere = f"let {me} enter it, or have the socket in another folder: [sasl] path"
            return Obstacle(reason, elsewhere if is_folder else f"{_LINES}, with owner and mode")
    return Obstacle(
        f"{path}: user {me} is not let in, though owners and modes would", "ask the system's security module"
    )


_OF_PATHS: Final[dict[int, Callable[[Path], Obstacle]]] = {
    errno.ENOENT: _is_missing,
    errno.ECONNREFUSED: _is_deserted,
    errno.EACCES: _is_barred,
    errno.EPERM: _is_barred,
}


def identity(path: str) -> tuple[int, int] | None:
    """Return what tells a socket from the one that was there before; None where there is none, or no way to tell."""
    if path.startswith(INET):
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
