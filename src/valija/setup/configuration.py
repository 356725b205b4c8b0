"""The first configuration as text: each setting that was chosen, why, and what else could be written there.

text = configuration_text(choices)      # TOML that valija reads; it would read each line `#key = ...` too
"""

import json
import textwrap
from collections.abc import Iterable, Iterator
from typing import Final

from valija.auth.options import SaslOptions
from valija.setup.choices import Choices

_WIDTH: Final = 118

_HEAD = """\
# The configuration of valija, a mail server for sending. Written by `valija init`; it is yours to change.
# A setting that is not here has its default. After a change: valija check, and valija reload.

# The server's name: in its greeting, in EHLO and in its certificate. Its address has to have this name in the DNS, and
# this name that address.
hostname = {hostname}

# The domains hosted here: their mail is kept, their users log in and send. The first one's postmaster is the server's.
{why_domains}
domains = {domains}

# Who may send to anywhere WITHOUT a login, on port 25: this machine alone. Name a network only if each machine in it is
# yours, and no stranger appears in it by a gateway. A range that would make an open relay is refused.
mynetworks = ["127.0.0.0/8", "[::1]/128"]
#mynetworks = ["127.0.0.0/8", "[::1]/128", "192.168.1.0/24"]

# The queue, accounts, keys and mail: back it up. The server runs as this user, whatever started it.
data_dir = {data_dir}
user = {user}

# The largest message, in octets: 50 MiB.
#message_size_limit = 52428800
"""

_LISTENERS = """\
# Mail from other servers. Nobody logs in here.
[smtpd]
#listen = ["0.0.0.0:25", "[::]:25"]

# Mail from your users' programs: STARTTLS first, then a login. An empty list turns a listener off.
[submission]
#listen = ["0.0.0.0:587", "[::]:587"]

# The same with TLS from the first octet, which mail programs prefer today.
[submissions]
#listen = ["0.0.0.0:465", "[::]:465"]
"""

_SASL_ACCOUNTS = """\
# Who judges logins. accounts: those of `valija user add`. dovecot: whoever Dovecot lets in. pam: this machine's users,
# whose passwords open more than mail, and could be guessed at here.
{why}
[sasl]
type = "accounts"
#type = "dovecot"
"""

_SASL_DOVECOT = """\
# Who judges logins: Dovecot, at this socket. `valija dovecot-config` prints the lines that its configuration needs.
# Without Dovecot: type = "accounts", and `valija user add`.
{why}
[sasl]
type = "dovecot"
path = {path}
#type = "accounts"
"""

_TLS_HEAD = """\
# The certificate. acme: ordered from Let's Encrypt and renewed, by port 80 (you agree to its terms). files: one that
# you have, such as certbot's; it is taken up when it changes. self-signed: most servers that send mail here do not
# look, but mail programs warn their users.
{why}
[tls]
"""

_TAIL = """\
# Sending. may: encrypted wherever the other side can. relayhost: hand all mail for others to one server, as where a
# provider closes port 25; "[host]:port" skips the look-up of its MX hosts.
[smtp]
#tls_security_level = "may"
#relayhost = "[smtp.example.net]:587"

# Trying again: the sender is told of the delay, and in the end that it failed.
[queue]
#delay_warning_time = "4h"
#maximal_queue_lifetime = "5d"

[log]
#level = "info"
#format = "json"
"""


def configuration_text(choices: Choices) -> str:
    """Return the whole text."""
    wish = choices.wish
    head = _HEAD.format(
        hostname=_written(wish.hostname),
        why_domains=_because(choices.why_domains),
        domains=_written(list(choices.domains)),
        data_dir=_written(wish.data_dir),
        user=_written(wish.user),
    )
    return "\n".join((head, _LISTENERS, _sasl(choices), "\n".join(_tls(choices)) + "\n", _TAIL))


def _sasl(choices: Choices) -> str:
    text = _SASL_DOVECOT if choices.sasl.value == "dovecot" else _SASL_ACCOUNTS
    return text.format(why=_because(choices.sasl.why), path=_written(SaslOptions().path))


def _tls(choices: Choices) -> Iterator[str]:
    chosen = choices.certificate
    yield _TLS_HEAD.format(why=_because(chosen.why)) + f"certificate = {_written(chosen.value)}"
    if choices.pair:
        yield f"cert_file = {_written(choices.pair.cert_file)}"
        yield f"key_file = {_written(choices.pair.key_file)}"
    email = choices.wish.email
    yield from _acme_lines(email, is_chosen=chosen.value == "acme", has_a_name="." in choices.wish.hostname)


def _acme_lines(email: str, *, is_chosen: bool, has_a_name: bool) -> Iterable[str]:
    if not is_chosen and has_a_name:
        yield '#certificate = "acme"'
    if email:
        yield f"acme_email = {_written(email)}"
    elif has_a_name:
        yield '#acme_email = "postmaster@example.org"'
    if has_a_name:
        yield '#acme_directory = "https://acme-staging-v02.api.letsencrypt.org/directory"'


def _because(why: str) -> str:
    """Return a reason as a comment, in as many lines as it takes."""
    return textwrap.fill(
        f"Chosen so: {why}.", _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _written(value: object) -> str:
    """Return a value as TOML has it; a JSON string or array of strings is TOML too."""
    return json.dumps(value, ensure_ascii=False)
