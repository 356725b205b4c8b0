"""Putting sendmail, mailq and newaliases where programs look for them.

    written = install(Path("/usr"), places, Path("/etc/valija/valija.toml"))

    /usr/sbin/sendmail     a script of three lines, which knows where the server's socket is
    /usr/lib/sendmail      -> ../sbin/sendmail, as are bin/mailq and bin/newaliases

What is there already and is not valija's stays: it belongs to another mail server, and to its package. A link that
leads to sbin/sendmail does what it should, whoever's it is.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from valija.cli.frame import Refusal
from valija.privileges import PrivilegeError, find_account, unreadable_code
from valija.sendmail.program import Places

MARK: Final = "# Written by `valija sendmail --install`, which writes it anew."
_LONGEST_INTERPRETER: Final = 120  # octets of a script's first line that every system reads
_LINKS: Final = ("lib/sendmail", "bin/mailq", "bin/newaliases")
_TARGET: Final = "../sbin/sendmail"
_DEADLINE: Final = 10.0  # seconds for dpkg


def install(prefix: Path, places: Places, configuration: Path) -> list[str]:
    """Write the script and the links that are not there as they should be; return their names. Raises Refusal."""
    script = prefix / "sbin" / "sendmail"
    links = [prefix / name for name in _LINKS]
    _check_interpreter()
    _check_owners([script, *links])
    try:
        done = [str(script)] if _write(script, _text(places, configuration)) else []
        return done + [str(link) for link in links if _link(link)]
    except OSError as error:
        raise Refusal(f"it cannot be installed: {error}; run this as root, or with --prefix") from None


def _text(places: Places, configuration: Path) -> str:
    """Return the script. `-I`: what a caller's environment says about Python does not matter."""
    command = (str(_program()), "sendmail", "-c", str(configuration))
    return f"""#!{sys.executable} -I
{MARK}
import sys

from valija.sendmail.program import Places, main

sys.exit(main(sys.argv, Places({places.socket!r}, {places.maildrop!r}, {command!r})))
"""


def _program() -> Path:
    from valija.systemd.facts import program_path

    return program_path()


def _check_interpreter() -> None:
    if " " in sys.executable or len(sys.executable) > _LONGEST_INTERPRETER:
        raise Refusal(f"no script can name the interpreter {sys.executable}: install valija below /opt")
    try:
        reason = unreadable_code(find_account("nobody"))
    except PrivilegeError:
        return
    if reason:
        raise Refusal(f"every user has to be able to run it: {reason}")


def _check_owners(files: Sequence[Path]) -> None:
    """Refuse to take the place of files that are not ours, naming all of them at once."""
    foreign = [file for file in files if os.path.lexists(file) and not _is_ours(file)]
    if foreign:
        diverts = [f"    dpkg-divert --local --rename --add {file}" for file in foreign]
        raise Refusal("\n".join([*map(_complaint, foreign), "to keep both, move aside what is there:", *diverts]))


def _complaint(file: Path) -> str:
    package = _package_of(file)
    if package:
        return f"{file} is the package {package}'s: apt remove {package}, then run this again"
    return f"{file} is another program's: move it away, then run this again"


def _is_ours(file: Path) -> bool:
    if file.is_symlink():
        return os.readlink(file) == _TARGET
    try:
        with file.open("rb") as opened:
            return MARK.encode() in opened.read(4096)
    except OSError:
        return False


def _package_of(file: Path) -> str:
    """Return the Debian package that a file is of, "" where it is of none."""
    if not (dpkg := shutil.which("dpkg")):
        return ""
    try:
        said = subprocess.run(  # noqa: S603 - found on the path, like any command
            [dpkg, "-S", str(file)], capture_output=True, text=True, check=True, timeout=_DEADLINE
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    names = [line.partition(":")[0] for line in said.splitlines() if not line.startswith("diversion")]
    return names[0] if names else ""


def _write(file: Path, text: str) -> bool:
    """Write a file that all may run; tell whether there was anything to write. Raises OSError."""
    if file.exists() and file.read_text() == text:
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.chmod(0o755)
    os.replace(new, file)
    return True


def _link(file: Path) -> bool:
    if file.is_symlink():
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    file.symlink_to(_TARGET)
    return True
