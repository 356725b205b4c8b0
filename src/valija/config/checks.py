"""How mail from outside is examined: the settings of [checks]."""

from valija.config.document import Reader, Table
from valija.config.readers import choice, domain, duration, each, flag
from valija.receive.check_options import CheckOptions, Say


def read_checks(table: Table) -> CheckOptions:
    """Return what stands in `table`."""
    default = CheckOptions()
    say: Reader[Say] = choice("off", "annotate", "reject")

    return CheckOptions(
        spf=table.read("spf", say, default.spf),
        dkim=table.read("dkim", flag, default.dkim),
        arc=table.read("arc", flag, default.arc),
        dmarc=table.read("dmarc", choice("off", "annotate", "honour"), default.dmarc),
        trusted_arc_sealers=table.read("trusted_arc_sealers", each(domain), default.trusted_arc_sealers),
        iprev=table.read("iprev", say, default.iprev),
        helo=table.read("helo", say, default.helo),
        dnsbl=table.read("dnsbl", each(domain), default.dnsbl),
        dnsbl_action=table.read("dnsbl_action", choice("reject", "junk"), default.dnsbl_action),
        timeout=table.read("timeout", duration("1s", "60s"), default.timeout),
    )
