"""L5: the configuration, from TOML to the layers' own option types.

    config = load(None)                                    # found where the documentation says; raises ConfigError
    config = parse(text, "valija.toml", folder, MACHINE)   # the pure part: a new configuration is built whole

All faults are reported at once, a line for each, naming the setting, the value as written, and the remedy.
"""

from valija.config.faults import ConfigError, Setting, SettingFault
from valija.config.load import MACHINE, NO_FILE, find, load, parse, read_text
from valija.config.model import Config, LogOptions, WebOptions
from valija.config.tables import Facts
from valija.config.trust import trust_fault

__all__ = [
    "MACHINE",
    "NO_FILE",
    "Config",
    "ConfigError",
    "Facts",
    "LogOptions",
    "Setting",
    "SettingFault",
    "WebOptions",
    "find",
    "load",
    "parse",
    "read_text",
    "trust_fault",
]
