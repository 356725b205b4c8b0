"""valija systemd: the units by which systemd runs the server."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from valija.cli.frame import Call, Refusal, command, group

if TYPE_CHECKING:
    from valija.config import Config
    from valija.privileges import Account
    from valija.systemd.units import UnitFacts

_FOLDER = Path("/etc/systemd/system")
_SOCKETS_HELP = "Have systemd bind the ports; the server has no rights of its own then."


def add_to(main: click.Group) -> None:
    """Add the group and its commands."""
    systemd = group(main, "systemd", "The units by which systemd runs the server.")

    @command(systemd, "show")
    @click.option("--sockets", is_flag=True, help=_SOCKETS_HELP)
    def show(call: Call, sockets: bool) -> None:
        """Print the units, as `install` would write them."""
        from valija.systemd.units import units

        texts = units(_facts(call, sockets=sockets))
        lines = [line for name, text in texts.items() for line in (f"# {_FOLDER / name}", *text.splitlines(), "")]
        call.answer({"units": texts}, lines)

    @command(systemd, "install")
    @click.option("--sockets", is_flag=True, help=_SOCKETS_HELP)
    @click.option("--destdir", type=click.Path(path_type=Path), metavar="FOLDER", help="Write below this folder.")
    def install(call: Call, sockets: bool, destdir: Path | None) -> None:
        """Write the units for this configuration to /etc/systemd/system, and tell what to run next."""
        from valija.systemd.units import units

        facts = _facts(call, sockets=sockets, is_for_here=destdir is None)
        if not destdir:
            _prepare(call, facts)
        folder = (destdir / _FOLDER.relative_to("/")) if destdir else _FOLDER
        changed = _write(folder, units(facts))
        for name in _left_over(folder, sockets=sockets):
            call.note(f"{name} is of an earlier installation: systemctl disable --now {name.name} && rm {name}")
        names = [str(folder / name) for name in changed]
        steps = _next(sockets=sockets, is_local=bool(facts.work.socket or facts.work.maildrop))
        call.answer(
            {"written": names, "starts_as_root": list(facts.why_root), "next": steps},
            [*(f"{name} written" for name in names), *([] if names else ["the units are as they should be"]), "next:"]
            + [f"    {step}" for step in steps],
        )


def _next(*, sockets: bool, is_local: bool) -> list[str]:
    names = "valija.socket valija.service" if sockets else "valija.service"
    steps = ["systemctl daemon-reload", f"systemctl enable --now {names}", "systemctl status valija", "valija check"]
    return [*steps, "valija sendmail --install"] if is_local else steps


def _facts(call: Call, *, sockets: bool, is_for_here: bool = True) -> "UnitFacts":
    from valija.systemd.facts import manager_version, unit_facts

    config = call.load()
    if call.config_path is None:
        raise Refusal("there is no configuration for the units to name: valija init HOSTNAME writes one")
    path = call.config_path.absolute()
    version = manager_version() if is_for_here else 0
    return unit_facts(config, path, why_root=_why_root(config, path), has_sockets=sockets, manager=version)


def _why_root(config: "Config", path: Path) -> list[str]:
    """Return why the server has to start as root. Where its user is not there yet, nothing is known of files."""
    from valija.privileges import PrivilegeError, find_account
    from valija.warden.start import needs

    if config.user == "root":
        return ['user = "root"']
    try:
        return list(needs(config, path, find_account(config.user)))
    except PrivilegeError:
        return ['[sasl] type = "pam"'] if config.sasl.type == "pam" else []


def _prepare(call: Call, facts: "UnitFacts") -> None:
    """Have the service's user and its folder there: a unit that names what is not there does not start."""
    from valija.privileges import find_account, prepare_data_dir, running_as_root, unreadable_code

    if not running_as_root():
        raise Refusal(f"only root may write to {_FOLDER}: run this as root, or with --destdir")
    account = find_account(facts.work.user)
    if not account.is_root and (reason := unreadable_code(account)):
        call.note(reason)
    prepare_data_dir(Path(facts.work.data_dir), account)
    if facts.work.maildrop:
        _make_maildrop(call, Path(facts.work.maildrop), account)


def _make_maildrop(call: Call, folder: Path, account: "Account") -> None:
    from valija.local_places import Unusable, make_maildrop

    try:
        make_maildrop(folder, account)
    except (OSError, Unusable) as error:
        call.note(f"[local] maildrop: {error}")


def _write(folder: Path, texts: dict[str, str]) -> list[str]:
    """Write the units that are not there as they should be; return their names. Raises Refusal."""
    from valija.systemd.units import MARK

    changed = {name: text for name, text in texts.items() if _text_of(folder / name) != text}
    for name in changed:
        if (there := _text_of(folder / name)) and not there.startswith(MARK):
            remedy = "move it away, or put your changes into a drop-in: systemctl edit valija"
            raise Refusal(f"{folder / name} is there and was not written by valija; {remedy}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in changed.items():
            new = folder / f".{name}.new"
            new.write_text(text)
            new.chmod(0o644)
            os.replace(new, folder / name)
    except OSError as error:
        raise Refusal(f"the units cannot be written: {error}") from None
    return list(changed)


def _text_of(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _left_over(folder: Path, *, sockets: bool) -> list[Path]:
    from valija.systemd.units import MARK, SOCKETS

    file = folder / SOCKETS
    return [file] if not sockets and _text_of(file).startswith(MARK) else []
