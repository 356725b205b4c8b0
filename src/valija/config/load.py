"""Finding, reading and parsing the configuration file."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from valija import machine
from valija.config.document import Document
from valija.config.faults import ConfigError, Setting, SettingFault
from valija.config.model import Config
from valija.config.tables import Facts, build
from valija.config.trust import trust_fault

VARIABLE: Final = "VALIJA_CONFIG"
PLACES: Final = (Path("valija.toml"), Path("/etc/valija/valija.toml"))
NO_FILE: Final = "(no configuration file)"  # what faults of the defaults name as their source
_TOO_LONG: Final = 1 << 20  # octets

MACHINE: Final = Facts(
    hostname=machine.full_host_name,
    cores=lambda: len(os.sched_getaffinity(0)),
    gateways=machine.gateways,
    is_local_address=machine.is_local_address,
    trust_fault=trust_fault,
)


def load(path: Path | None = None, *, facts: Facts = MACHINE) -> Config:
    """Return the configuration in `path`, or in the file that `find` knows, or all defaults. Raises ConfigError."""
    found = path or find()
    if found is None:
        return parse("", NO_FILE, Path.cwd(), facts)
    return parse(read_text(found), str(found), found.absolute().parent, facts)


def find(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file that $VALIJA_CONFIG names, or the first that is there; None where there is none."""
    if named := environ.get(VARIABLE):
        return Path(named)
    return next((place for place in PLACES if os.path.lexists(place)), None)


def read_text(path: Path) -> str:
    """Return the text of a configuration file. Raises ConfigError where it cannot be read as UTF-8 text."""
    try:
        with path.open("rb") as file:
            content = file.read(_TOO_LONG + 1)
        if len(content) > _TOO_LONG:
            raise _refused(str(path), "the file is larger than 1 MiB", "make sure that it is the configuration")
        return content.decode("utf-8")
    except OSError as error:
        reason = f"the configuration cannot be read ({error.strerror})"
        remedy = f"check the path, or name another file with -c or ${VARIABLE}"
        if isinstance(error, PermissionError):
            remedy = "call this as root or as the server's user, who may read it"
        raise _refused(str(path), reason, remedy) from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _refused(str(path), f"line {line}: the text is not UTF-8", "save the file as UTF-8") from None


def parse(text: str, source: str, folder: Path, facts: Facts) -> Config:
    """Return the configuration in a TOML text. Raises ConfigError.

    `source` names it in faults; relative paths in it start at `folder`, which is absolute.
    """
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(source, *_syntax(error, text)) from None
    return build(Document(source, values), folder, facts)


def _syntax(error: Exception, text: str) -> tuple[str, str]:
    remedy = "correct it; texts stand in quotes, and a table begins with its [name]"
    if isinstance(error, RecursionError):
        return "values are nested too deeply", remedy
    words, _, place = str(error).partition(" (at ")
    if at := re.fullmatch(r"line (\d+), column (\d+)\)", place):
        return f"line {at[1]}, column {at[2]}: {_lower(words)}", remedy
    if place == "end of document)":
        line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
        return f"line {line}, column {column} (the end): {_lower(words)}", remedy
    return f"it is not TOML: {_lower(str(error).partition(';')[0])}", remedy


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]


def _refused(source: str, reason: str, remedy: str) -> ConfigError:
    return ConfigError([SettingFault(source, Setting("", ""), "", reason, remedy)])
