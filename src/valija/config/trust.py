"""Can a file be what peers' certificates are checked against?

    trust_fault("/etc/ssl/certs/ca-certificates.crt")    # None
    trust_fault("/etc/hosts")                            # ("/etc/hosts holds no certificate in PEM", "name ...")

Asked when the configuration is read: with such a file all mail that has to be verified would be deferred, for days.
"""

import os
import stat

REMEDY = "name a file of trusted certificates in PEM that the service's user can read"


def trust_fault(path: str) -> tuple[str, str] | None:
    """Return why `path` cannot be used, and the remedy; None where it can."""
    reason = _why_unreadable(path) or _why_useless(path)
    return (f"{path} {reason}", REMEDY) if reason else None


def _why_unreadable(path: str) -> str:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a FIFO is not even opened: that would wait for ever
            return "is not a file"
        with open(path, "rb"):
            return ""
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except ValueError:  # a NUL in it
        return "is not a file"


def _why_useless(path: str) -> str:
    import ssl  # slow to import, and few configurations need it

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        return "holds no certificate in PEM"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if context.cert_store_stats()["x509"] else "holds no certificate in PEM"
