"""What a unit allows the server: as little as its work needs (systemd.exec(5)).

    rights_of(needs_root=False, judges_logins=False, binds=True)     # ("CAP_NET_BIND_SERVICE",)
    sandbox(Work(...))                                                # [("ProtectSystem", "strict"), ...]

Left out on purpose: `ProcSubset=pid` hides /proc/net, where the server looks for gateways that must not be trusted;
`IPAddressDeny` would shut out mail; `SocketBindDeny` counts the ports that answers of name servers come to.
"""

from pathlib import PurePosixPath
from typing import Final

import msgspec

Setting = tuple[str, str]

_BINDING: Final = ("CAP_NET_BIND_SERVICE",)
# To become the service's user for good, and what the root helper keeps (valija/warden/confinement).
_DROPPING: Final = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_CHOWN", "CAP_KILL", "CAP_DAC_READ_SEARCH")
_JUDGING: Final = ("CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_AUDIT_WRITE")

_HOMES: Final = ("/home", "/root", "/run/user")
_TEMPORARY: Final = ("/tmp", "/var/tmp")  # noqa: S108 looked for, not used
_TALLIES: Final = "-/run/faillock -/var/log/lastlog"  # where PAM modules count, if there are any

_ALWAYS: Final[tuple[Setting, ...]] = (
    ("UMask", "0077"),
    ("NoNewPrivileges", "yes"),
    ("ProtectSystem", "strict"),
    ("PrivateDevices", "yes"),
    ("PrivateMounts", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectProc", "invisible"),
    ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("LockPersonality", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
    ("KeyringMode", "private"),
    ("RemoveIPC", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallErrorNumber", "EPERM"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallFilter", "~@resources"),
    ("SystemCallFilter", "setpriority"),  # the threads that check passwords step back behind mail
)


class Work(msgspec.Struct, frozen=True):
    """What the server does on this machine, as far as rights depend on it.

    `starts_as_root`: it drops its privileges itself; `binds`: it has ports below 1024 to bind. `paths` are what it
    reads, `writable` what it writes besides `data_dir`. `socket` and `maildrop` are where programs of this machine hand
    mail in, "" for nowhere.
    """

    user: str
    data_dir: str
    starts_as_root: bool = False
    judges_logins: bool = False
    binds: bool = True
    paths: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    socket: str = ""
    maildrop: str = ""


def sandbox(work: Work) -> list[Setting]:
    """Return the settings of a unit's [Service] that say as whom the server runs, and what it may do."""
    rights = " ".join(rights_of(work))
    settings = [] if work.starts_as_root else [("User", work.user), ("AmbientCapabilities", rights)]
    settings.append(("CapabilityBoundingSet", rights))
    settings += _folders(work)
    settings += _ALWAYS
    if not work.starts_as_root:
        settings.append(("SystemCallFilter", "~@privileged"))
    if not rights and not work.socket:  # whose program connects is not to be seen from within
        settings.append(("PrivateUsers", "yes"))
    if rights and not work.starts_as_root:
        settings.append(("SystemCallFilter", "capset"))  # it gives its rights up once its ports are bound
    return settings


def rights_of(work: Work) -> tuple[str, ...]:
    """Return the capabilities that the server needs at its start."""
    rights: tuple[str, ...] = _BINDING if work.binds else ()
    if work.starts_as_root:
        rights += _DROPPING
    if work.judges_logins:
        rights += _JUDGING
    return rights


def _folders(work: Work) -> list[Setting]:
    own = PurePosixPath(work.data_dir)
    settings: list[Setting] = []
    writable = [*work.writable]
    # systemd makes a StateDirectory, and gives it to User=, which is root where the server starts as root.
    if own.parent == PurePosixPath("/var/lib") and not work.starts_as_root:
        settings += [("StateDirectory", own.name), ("StateDirectoryMode", "0700")]
    else:
        writable.insert(0, work.data_dir)
    if work.judges_logins:
        writable.append(_TALLIES)
    settings += _local_places(work, writable)
    if writable:
        settings.append(("ReadWritePaths", " ".join(writable)))
    paths = (*work.paths, work.data_dir, *work.writable, work.socket, work.maildrop)
    # Modules of PAM may look into a user's home: for a second factor's secret, for instance.
    looks_into_homes = work.judges_logins or _is_below(_HOMES, paths)
    settings.append(("ProtectHome", "read-only" if looks_into_homes else "yes"))
    settings.append(("PrivateTmp", "no" if _is_below(_TEMPORARY, paths) else "yes"))
    return settings


def _local_places(work: Work, writable: list[str]) -> list[Setting]:
    """Return the settings for what local programs find; what is written there besides is added to `writable`."""
    if work.maildrop:
        writable.append(f"-{work.maildrop}")
    if not work.socket:
        return []
    folder = PurePosixPath(work.socket).parent
    if folder.parent == PurePosixPath("/run"):
        return [("RuntimeDirectory", folder.name), ("RuntimeDirectoryMode", "0755")]
    writable.append(f"-{folder}")
    return []


def _is_below(folders: tuple[str, ...], paths: tuple[str, ...]) -> bool:
    return any(PurePosixPath(path).is_relative_to(folder) for path in paths for folder in folders)
