"""All that is fuzzed, by name. A new target is a function in one of these modules, and a folder of the corpus."""

from typing import Final

from tests.fuzz.engine import Target
from tests.fuzz.targets import (
    addresses,
    certificates,
    client,
    content,
    dns_answers,
    filters,
    logins,
    programs,
    reports,
    server,
)

_MODULES: Final = (server, client, addresses, content, reports, dns_answers, certificates, logins, programs, filters)

TARGETS: Final[dict[str, Target]] = {target.name: target for module in _MODULES for target in module.TARGETS}
