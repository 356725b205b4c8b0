"""Machines to choose for, and what is chosen."""

import msgspec

from tests.config.facts import FACTS
from valija.config import Config, parse
from valija.setup.choices import Choices, Wish, choose
from valija.setup.configuration import configuration_text
from valija.setup.facts import CertbotPair, Machine, Names

NOW = 1_800_000_000.0
HOST = "mail.example.org"
ADDRESS = "203.0.113.7"

# A machine whose name leads to it, with nothing else on it.
MACHINE = Machine(
    is_root=True,
    sources=(ADDRESS,),
    local=frozenset({ADDRESS}),
    names=Names((ADDRESS,), mail_hosts={"example.org": (HOST,)}),
)
PAIR = CertbotPair(
    f"/etc/letsencrypt/live/{HOST}/fullchain.pem", f"/etc/letsencrypt/live/{HOST}/privkey.pem", NOW + 86_400
)


def machine(**changed: object) -> Machine:
    return msgspec.structs.replace(MACHINE, **changed)


def chosen(facts: Machine = MACHINE, **wish: object) -> Choices:
    return choose(msgspec.structs.replace(Wish(HOST), **wish), facts, NOW)


def configuration(choices: Choices) -> Config:
    from pathlib import Path

    return parse(configuration_text(choices), "valija.toml", Path("/etc/valija"), FACTS)
