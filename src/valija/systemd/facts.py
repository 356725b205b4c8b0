"""What the units depend on, found out from the configuration and this machine.

facts = unit_facts(config, Path("/etc/valija/valija.toml"), why_root=(), has_sockets=False, manager=252)
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from valija.config import Config
from valija.systemd.sandbox import Work
from valija.systemd.units import UnitFacts

_DEADLINE: Final = 10.0  # seconds for systemctl to tell its version
_BESIDE: Final = {"dovecot": ("dovecot.service",)}  # who judges logins, and is to be there first


def unit_facts(
    config: Config, configuration: Path, *, why_root: Sequence[str], has_sockets: bool, manager: int
) -> UnitFacts:
    """Return what the units depend on. `why_root`: reasons for a start as root; `manager`: systemd's version."""
    program = program_path()
    work = Work(
        user=config.user,
        data_dir=str(config.data_dir),
        starts_as_root=bool(why_root),
        judges_logins=config.sasl.type == "pam",
        paths=(str(program), sys.prefix, str(configuration), *_files(config)),
        writable=(config.tls.acme_webroot,) if config.tls.uses_acme and config.tls.acme_webroot else (),
        socket=config.local.socket,
        maildrop=config.local.maildrop,
    )
    return UnitFacts(
        program=str(program),
        configuration=str(configuration),
        work=work,
        listen={role: options.listen for role, options in config.listeners.items()},
        challenges=(*config.tls.challenge_listen, *config.https.listen),
        why_root=tuple(why_root),
        after=_BESIDE.get(config.sasl.type, ()),
        has_sockets=has_sockets,
        manager=manager,
    )


def program_path() -> Path:
    """Return where the command `valija` lies that belongs to the running interpreter."""
    beside = Path(sys.executable).with_name("valija")
    found = None if beside.exists() else shutil.which("valija")
    return Path(found).absolute() if found else beside


def manager_version() -> int:
    """Return systemd's version, 0 where there is none or it does not tell."""
    if systemctl := shutil.which("systemctl"):
        try:
            said = subprocess.run(  # noqa: S603 - found on the path, like any command
                [systemctl, "--version"], capture_output=True, text=True, check=True, timeout=_DEADLINE
            ).stdout
        except (OSError, subprocess.SubprocessError):
            return 0
        if version := re.match(r"systemd (\d+)", said):
            return int(version[1])
    return 0


def _files(config: Config) -> tuple[str, ...]:
    """Return the files that the configuration names and the server reads."""
    pairs = (name for wanted in config.tls.wanted(config.hostname) for name in (wanted.cert_file, wanted.key_file))
    others = (config.smtp.tls_ca_file, config.tls.acme_ca_file, config.tls.acme_dns_key_file)
    return tuple(name for name in (*pairs, *others) if name)
