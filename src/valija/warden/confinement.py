"""What root is left with in the root helper: the rights that its work needs, and no way to get others.

    confine(JUDGING, keep={4, 5, 6})

Every program that a PAM module starts is bound by the same. What cannot be given up, because the system (a container)
has taken it away already or does not know it, is no reason not to start; what could be given up and was not, is.

Known weakness: root without capabilities still owns root's files. This keeps a fault from reaching the kernel, other
processes and the network's settings; it does not make root harmless.
"""

import contextlib
import ctypes
import os
import resource
from collections.abc import Collection
from typing import Final

from valija.privileges import PrivilegeError

# capabilities(7)
_CHOWN, _DAC_OVERRIDE, _DAC_READ_SEARCH, _FOWNER, _KILL, _SETGID, _SETUID = 0, 1, 2, 3, 5, 6, 7
_SETPCAP, _AUDIT_WRITE = 8, 29
READING: Final = frozenset({_DAC_READ_SEARCH, _KILL, _SETGID, _SETUID})
# Modules keep tallies in files of the user's (faillock, lastlog), look into the user's home, and report to the audit.
JUDGING: Final = READING | {_CHOWN, _DAC_OVERRIDE, _FOWNER, _AUDIT_WRITE}

_PR_SET_DUMPABLE, _PR_SET_NAME, _PR_CAPBSET_READ, _PR_CAPBSET_DROP = 4, 15, 23, 24
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL = 1, 38, 47, 4
_CAPABILITIES: Final = 64  # more than any kernel has
_VERSION_3: Final = 0x20080522  # of capset(2)
_DESCRIPTORS: Final = 1024
_LESS_LIKELY_KILLED: Final = "-500"  # it cannot be started again


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def confine(capabilities: Collection[int], keep: Collection[int], name: str) -> None:
    """Give up all but these capabilities and descriptors. Raises PrivilegeError where that did not work."""
    close_all_but(keep)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor, inheritable=True)
    os.close(null)
    os.environ.clear()
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    os.chdir("/")
    os.umask(0o077)
    _set_limits()
    _be_kept()
    shown = ctypes.create_string_buffer(name.encode())
    _prctl(_PR_SET_NAME, ctypes.addressof(shown))
    _give_up(capabilities)


def close_all_but(keep: Collection[int]) -> None:
    """Close every descriptor but these and the standard ones."""
    for name in os.listdir("/proc/self/fd"):
        if (descriptor := int(name)) > 2 and descriptor not in keep:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(descriptor)


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send this process a signal when its parent is gone."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def be_expendable() -> None:
    """Be as likely to be killed for want of memory as any: what holds for the helper is not for its children."""
    _write_oom_score("0")


def give_up_all() -> None:
    """Give up every capability that a process has which is not root's, and what its programs would inherit of them.

    A service manager may have lent it the right to bind ports below 1024. Raises PrivilegeError.
    """
    if _effective():
        _prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, is_vital=False)
        _set_capabilities(0)


def forbid_new_rights() -> None:
    """Have no program that this process starts, or its children, get rights that it has not: set-uid means nothing."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _set_limits() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _be_kept() -> None:
    _write_oom_score(_LESS_LIKELY_KILLED)


def _write_oom_score(score: str) -> None:
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(score)
    except OSError:  # a container may not allow it
        return


def _give_up(kept: Collection[int]) -> None:
    os.setgroups([])
    _prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, is_vital=False)  # unknown to old kernels, which have none
    for capability in range(_CAPABILITIES):
        if capability not in kept and _prctl(_PR_CAPBSET_READ, capability, is_vital=False) == 1:
            _prctl(_PR_CAPBSET_DROP, capability, is_vital=_has(_SETPCAP))
    mask = sum(1 << capability for capability in kept) & _effective()
    _set_capabilities(mask)
    forbid_new_rights()
    _prctl(_PR_SET_DUMPABLE, 0)
    if _effective() != mask:
        raise PrivilegeError("the root helper could not give up root's capabilities")


def _set_capabilities(mask: int) -> None:
    low, high = mask & 0xFFFF_FFFF, mask >> 32
    data = (_Data * 2)(_Data(low, low, 0), _Data(high, high, 0))
    header = _Header(_VERSION_3, 0)
    if _libc.capset(ctypes.byref(header), data):
        raise PrivilegeError(f"the root helper cannot give up capabilities: {os.strerror(ctypes.get_errno())}")


def _has(capability: int) -> bool:
    return bool(_effective() >> capability & 1)


def _effective() -> int:
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    if _libc.capget(ctypes.byref(header), data):
        raise PrivilegeError(f"the root helper cannot see its capabilities: {os.strerror(ctypes.get_errno())}")
    low, high = data
    return int(low.effective) | int(high.effective) << 32


def _prctl(option: int, value: int, *, is_vital: bool = True) -> int:
    answer = int(_libc.prctl(option, value, 0, 0, 0))
    if answer < 0 and is_vital:
        raise PrivilegeError(
            f"the root helper cannot confine itself: prctl {option}: {os.strerror(ctypes.get_errno())}"
        )
    return answer


_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
