"""Ways to write a recipient elsewhere so that a server might take it for one of its own, beyond those of the probe.

Each stands behind `RCPT TO:`, for a server that hosts local.example and the user alice. What the server may take are
mailboxes of its own with odd names; no form makes it send anything to remote.example.
"""

from typing import Final

PERCENT: Final = (
    "<victim%remote.example%local.example@local.example>",
    "<victim%remote.example@local.example.>",
    "<victim%remote.example@LOCAL.EXAMPLE>",
    "<victim%40remote.example@local.example>",
    "<victim%25remote.example@local.example>",
    "<victim@remote.example%local.example>",
    '<"victim"%remote.example@local.example>',
    "<%remote.example@local.example>",
)
LITERAL: Final = (
    "<victim@[192.0.2.9]>",
    "<victim@[IPv6:2001:db8::9]>",
    "<victim@[IPv6:::ffff:127.0.0.1]>",
    "<victim@[IPv6:::ffff:192.0.2.9]>",
    "<victim@[::1]>",
    "<victim@[127.1]>",
    "<victim@[0x7f000001]>",
    "<victim@0x7f000001>",
    "<victim@127.1>",
    "<victim@192.0.2.9>",
    "<victim@192.0.2.9.>",
    "<victim@[remote.example]>",
    "<victim%remote.example@[127.0.0.2]>",
    "<alice@[127.0.0.1]>",
)
ROUTE: Final = (
    "<@local.example,@local.example:victim@remote.example>",
    "<@[127.0.0.1]:victim@remote.example>",
    "<@[127.0.0.2]:victim@remote.example>",
    "<@local.example:@remote.example:victim@remote.example>",
    "<@local.example:alice@local.example,victim@remote.example>",
    "<@:victim@remote.example>",
    "@local.example:<victim@remote.example>",
)
NESTED: Final = (
    "<<victim@remote.example>>",
    "<victim@remote.example>@local.example>",
    '<"<victim@remote.example>"@local.example>',
    r'<"\"victim@remote.example\""@local.example>',
    r'<"victim\@remote.example"@local.example>',
    r"<victim\@remote.example@local.example>",
    "<(alice@local.example)victim@remote.example>",
    "<victim@remote.example (alice@local.example)>",
    "<victim@(local.example)remote.example>",
    '<"alice@local.example"@remote.example>',
    '<"victim@remote.example>" <alice"@local.example>',
    '<"victim@remote.example>, <alice"@local.example>',
    "alice@local.example <victim@remote.example>",
    '"alice@local.example" <victim@remote.example>',
)
SEVERAL: Final = (
    "<victim@remote.example,alice@local.example>",
    "<victim@remote.example;alice@local.example>",
    "<alice@local.example victim@remote.example>",
    "<alice@local.example>victim@remote.example",
    "<alice@local.example>;<victim@remote.example>",
    "<alice@local.example> TO:<victim@remote.example>",
    "<alice@local.example>\tTO:<victim@remote.example>",
)
OTHER_MAIL: Final = (  # what gateways to other networks made of addresses
    "<remote.example::victim@local.example>",
    "<remote.example!victim%x.example@local.example>",
    "<local.example!remote.example!victim>",
    "</G=victim/S=x/O=remote/C=es/@local.example>",
    '<"SMTP:victim@remote.example"@local.example>',
    "<IMCEASMTP-victim+40remote+2Eexample@local.example>",
    "<smtp:victim@remote.example>",
    "<mailto:victim@remote.example>",
    "<|/bin/sh@local.example>",
    '<"|mail victim@remote.example"@local.example>',
    "<:include:/etc/passwd@local.example>",
    '<"/var/mail/victim"@local.example>',
)
SUBADDRESS: Final = (
    "<alice+victim@remote.example@local.example>",
    '<"alice+victim@remote.example"@local.example>',
    "<alice+victim%remote.example@local.example>",
    "<alice+remote.example!victim@local.example>",
    "<alice+@remote.example>",
    "<+victim@remote.example>",
    '<"+victim@remote.example"@local.example>',
    "<postmaster+victim@remote.example>",
    "<postmaster%remote.example@local.example>",
    '<"postmaster@remote.example"@local.example>',
    "<postmaster@>",
    "<postmaster@remote.example@local.example>",
    '<"postmaster"@remote.example>',
    "<abuse@remote.example>",
    "<MAILER-DAEMON@remote.example>",
)
SIGNED: Final = (  # what list servers, forwarders and reports make of an address, none of it by this server
    "<alice+victim=remote.example@local.example>",
    "<bounces-victim=remote.example@local.example>",
    "<list-return-1-victim=remote.example@local.example>",
    "<SRS0=AAAAAAAA=AA=remote.example=victim@local.example>",
    "<srs0=aaaaaaaa=aa=remote.example=victim@local.example>",
    "<SRS0+AAAA=AA=remote.example=victim@local.example>",
    "<SRS1=AAAAAAAA=remote.example==AAAA=AA=other.example=victim@local.example>",
    '<"SRS0=AAAAAAAA=AA=remote.example=victim"@local.example>',
    "<SRS0=AAAAAAAA=AA=remote.example=victim@remote.example>",
    "<prvs=1234abcdef=victim@remote.example>",
    "<prvs=1234abcdef=victim%remote.example@local.example>",
    "<btv1==1234abcdef==victim@remote.example>",
)
NAMES: Final = (
    "<victim@local.example.remote.example>",
    "<victim@remote.local.example>",
    "<victim@local-example.remote.example>",
    "<victim@xlocal.example>",
    "<victim@local.example..>",
    "<victim@remote.example..>",
    "<victim@.remote.example>",
    "<victim@.local.example>",
    "<victim@_remote.example>",
    "<victim@example>",
    "<victim@>",
    "<@remote.example>",
    "<victim>",
)
PARAMETERS: Final = (
    "<victim@remote.example> ORCPT=rfc822;alice@local.example",
    "<alice@local.example> ORCPT=rfc822;victim@remote.example",
    "<alice@local.example> ORCPT=rfc822;victim+40remote.example NOTIFY=FAILURE",
    "<victim@remote.example> NOTIFY=NEVER",
    "<victim@remote.example> AUTH=alice@local.example",
    "<victim@remote.example> RRVS=2026-01-01T00:00:00Z",
    "<victim@remote.example> CONPERM",
)
INTERNATIONAL: Final = (  # with SMTPUTF8: signs that some software takes for an @ or a dot
    "<victim@remote\u3002example>",
    "<victim@remote\uff0eexample>",
    "<victim\uff20remote.example@local.example>",
    "<victim\ufe6bremote.example@local.example>",
    "<victim@remote.exam\u200bple>",
    "<victim@r\u00e9mote.example>",
    "<victim@\uff52\uff45\uff4d\uff4f\uff54\uff45.example>",
    "<victim@xn--remote-.example>",
    "<vict\u0131m\uff05remote.example@local.example>",
    "<victim@local.example\uff0fremote.example>",
)

RECIPIENTS: Final = (
    *PERCENT, *LITERAL, *ROUTE, *NESTED, *SEVERAL, *OTHER_MAIL, *SUBADDRESS, *SIGNED, *NAMES, *PARAMETERS,
)  # fmt: skip
