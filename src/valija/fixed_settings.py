"""The settings that only a restart can change, and how a reload keeps them as they are.

for setting in fixed_settings_changed(in_force, written): ...     # named in the log
config = with_fixed_settings(written, in_force)
"""

import msgspec

from valija.config import Config
from valija.recording import hides_lines


def fixed_settings_changed(old: Config, new: Config) -> list[str]:
    """Return the settings that differ and that only a restart can change."""
    changed = [name for name in ("data_dir", "user", "workers") if getattr(old, name) != getattr(new, name)]
    changed += ["[log] level"] if old.log.level != new.log.level else []
    changed += ["[history] keep"] if new.history.is_on and not old.history.is_on and hides_lines(old) else []
    if new.tls.challenge_listen and new.tls.challenge_listen != old.tls.challenge_listen:
        changed.append("[tls] acme_challenge")
    changed += ["[https] listen"] if new.https.listen != old.https.listen else []
    local = [name for name in ("socket", "maildrop") if getattr(old.local, name) != getattr(new.local, name)]
    changed += [f"[local] {name}" for name in local]
    return changed + [
        f"[{role}] listen" for role, options in new.listeners.items() if options.listen != old.listeners[role].listen
    ]


def with_fixed_settings(new: Config, old: Config) -> Config:
    """Return a configuration with the settings that only a restart can change left as they are."""
    listeners = {
        str(role): msgspec.structs.replace(options, listen=old.listeners[role].listen)
        for role, options in new.listeners.items()
    }
    local = msgspec.structs.replace(new.local, socket=old.local.socket, maildrop=old.local.maildrop)
    fixed = {"data_dir": old.data_dir, "user": old.user, "workers": old.workers, "log": old.log, "https": old.https}
    return msgspec.structs.replace(new, **fixed, local=local, **listeners)
