"""What whoever runs this server can do about a trouble. What the trouble means stands in content/words.

    REMEDIES[Trouble.NO_SUCH_USER]

Reports tell senders what to do; here it is the postmaster who reads, with the configuration and a shell at hand.
"""

from collections.abc import Mapping
from typing import Final

from valija.content.trouble import Trouble

_SENDER: Final = "Nothing to be done on this server: "

REMEDIES: Final[Mapping[Trouble, str]] = {
    Trouble.NO_SUCH_USER: _SENDER
    + "the sender has to look for a typing mistake in the address, or to ask for the new one.",
    Trouble.NO_SUCH_DOMAIN: _SENDER
    + "the sender has to look for a typing mistake behind the @. If the domain should exist, ask your name server for "
    "its MX and A records.",
    Trouble.BAD_ADDRESS: _SENDER + "the sender has to check the address letter by letter.",
    Trouble.MOVED: _SENDER + "the sender has to ask for the new address.",
    Trouble.OWN_ADDRESS: "See that the sender's domain has an MX or A record and takes mail: `valija dns --check`.",
    Trouble.NULL_MX: _SENDER + "the domain says in the DNS that it takes no mail (null MX).",
    Trouble.MAILBOX_CLOSED: _SENDER + "the recipient has to be reached by other means.",
    Trouble.MAILBOX_FULL: _SENDER + "the recipient has to make room. It is tried again as long as the queue keeps it.",
    Trouble.MAILBOX: _SENDER + "the recipient, or the postmaster there, has to put the mailbox right.",
    Trouble.TOO_LARGE: _SENDER + "the message has to become smaller, or the file to be shared by a link.",
    Trouble.TOO_MANY: _SENDER + "fewer recipients at a time.",
    Trouble.THEIR_SERVER: _SENDER
    + "their server has to be put right. When it is, `valija queue retry ID` tries it at once.",
    Trouble.OUR_SERVER: "Look into this server's log at that time for an error, and at its disk: `valija check`.",
    Trouble.UNREACHABLE: "See whether this machine can reach the host: `valija probe HOST`. Many networks bar "
    "outgoing port 25; the provider opens it, or mail leaves by a relayhost.",
    Trouble.PUT_OFF: "Most often it goes by itself at the next attempt. Where it does not, read the words above, and "
    "see what the receiver thinks of this server: `valija check`, `valija destinations`.",
    Trouble.LOOP: "See where the MX records, aliases and forwardings lead: `valija route ADDRESS`. One of the servers "
    "on the way hands the message back.",
    Trouble.DEADLINE: _SENDER + "the sender set a time for the delivery, and it was over.",
    Trouble.NO_DEADLINE: _SENDER + "the sender wants a time kept that the other server does not know of.",
    Trouble.PROTOCOL: "Talk to the host by hand, to see what it does not understand: `valija send --server HOST "
    "--smtp`. An extension that is broken there can be left out by [smtp] discard_ehlo_keywords.",
    Trouble.SCRIPT: _SENDER + "the other server does not know SMTPUTF8; an address in plain letters is needed.",
    Trouble.CONTENT: "Read the words above, which may name the part that is not liked.",
    Trouble.POLICY: "Read the words above: they often name a block list, or a page that explains. Then see that SPF, "
    "DKIM, DMARC and the reverse name are right: `valija check`, `valija dns --check`; and that no account sends spam: "
    "`valija why LOGIN`.",
    Trouble.UNPROVEN_SENDER: "Have the sender's domain signed and listed: `valija dkim create DOMAIN`, then "
    "`valija dns --check` and `valija check` tell which record is missing.",
    Trouble.LOGIN: "See the login of this route ([[smtp.login]]), its password or token, and that TLS is on.",
    Trouble.TLS_BY_SETTING: "The configuration demands more TLS than that host can do ([smtp] tls_security_level, or a "
    "[[smtp.policy]]): see `valija route ADDRESS` and `valija probe HOST`. Lower it for that domain if that is meant.",
    Trouble.TLS_BY_DOMAIN: "Tell the postmaster there: the certificate does not fit what the domain publishes (DANE "
    "or MTA-STS). It is not sent less safely; as soon as either is right it goes. `valija tls-report DOMAIN` shows "
    "since when.",
    Trouble.TLS_BY_SENDER: _SENDER + "the sender asked for REQUIRETLS, and the other server does not offer it.",
    Trouble.BARRED: "The configuration says so: `valija route ADDRESS` names the setting.",
    Trouble.UNKNOWN: "The words above are all that is known; the postmaster on the other side can look them up.",
}
