"""Where Dovecot's authentication socket is, and in words what keeps this process from it.

    mechanisms, why = why_not("/run/dovecot/auth-client")     # a socket's path, or "inet:127.0.0.1:12345"
    # ((), "/run/dovecot/auth-client: user valija may not write to it, which is root:root 0600; ...")

Known weakness: access lists and security modules are not looked at; where they bar the way, the words are general.
"""

import errno
import grp
import os
import pwd
import socket
import stat
from pathlib import Path
from typing import Final

from valija.auth.dovecot_protocol import DovecotLink, Nonsense

INET: Final = "inet:"
OPENING: Final = 5.0  # seconds for a connection and Dovecot's first words
NO_MECHANISM: Final = "Dovecot offers no mechanism that can be used; auth_mechanisms = plain login"


def why_not(path: str) -> tuple[tuple[str, ...], str]:
    """Ask Dovecot now, waiting for it; return its mechanisms, and why it can't be used, `""` if it can."""
    try:
        with _socket_to(path) as line:
            line.settimeout(OPENING)
            link = DovecotLink(os.getpid())
            line.sendall(link.hello)
            while not link.is_ready:
                octets = line.recv(4096)
                if not octets:
                    return (), f"{path}: Dovecot closes the connection; its own log says why"
                link.receive(octets)
    except Nonsense as nonsense:
        return (), f"{path}: that is not Dovecot's auth protocol: {nonsense}"
    except TimeoutError:
        return (), f"{path}: it says nothing; is that Dovecot's auth socket?"
    except OSError as error:
        return (), why_unreachable(path, error)
    return link.mechanisms, "" if link.mechanisms else f"{path}: {NO_MECHANISM}"


def host_and_port(path: str) -> tuple[str, int]:
    """Take apart what stands behind `inet:`."""
    host, _, port = path.removeprefix(INET).rpartition(":")
    return host.strip("[]"), int(port)


def _socket_to(path: str) -> socket.socket:
    if path.startswith(INET):
        return socket.create_connection(host_and_port(path), OPENING)
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.connect(path)
    return line


def why_unreachable(path: str, error: OSError) -> str:
    """Return in words why a socket can't be reached, and what to do about it."""
    if path.startswith(INET):
        return f"{path}: {error.strerror or error}; is Dovecot running, with an inet_listener for auth there?"
    if error.errno == errno.ENOENT:
        return f"{path}: there is no such socket; is Dovecot running? valija dovecot-config prints what it needs"
    if error.errno == errno.ECONNREFUSED:
        return f"{path}: nobody listens there; is Dovecot running?"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{path}: {_what_bars(Path(path))}; valija dovecot-config prints the right owner and mode"
    return f"{path}: {error.strerror or error}"


def _what_bars(path: Path) -> str:
    """Return which permission is missing on the way to a socket."""
    me = _user_name(os.geteuid())
    for part in [*reversed(path.parents), path]:
        try:
            status = part.stat()
        except OSError as error:
            return f"user {me} can't look at {part}: {error.strerror}"
        if not os.access(part, os.X_OK if stat.S_ISDIR(status.st_mode) else os.W_OK, effective_ids=True):
            owner = f"{_user_name(status.st_uid)}:{_group_name(status.st_gid)}"
            need = "enter" if stat.S_ISDIR(status.st_mode) else "write to"
            return f"user {me} may not {need} {part}, which is {owner} {stat.S_IMODE(status.st_mode):04o}"
    return f"user {me} has no permission"


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
