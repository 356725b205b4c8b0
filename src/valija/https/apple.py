"""Settings as Apple's programs want them: a configuration profile with one mail account.

    apple_profile(Account("alice@example.org", mail))          # octets of a property list

The same account always gets the same identifiers, so that a profile that is installed again takes the old one's place.
It is not signed: the system says so before it installs it.
"""

import plistlib
import uuid
from typing import Any

from valija.https.account import Account


def apple_profile(account: Account) -> bytes:
    """Return the profile."""
    reversed_domain = ".".join(reversed(account.address.rpartition("@")[2].split(".")))
    identity = f"{reversed_domain}.mail.{uuid.uuid5(uuid.NAMESPACE_URL, f'mailto:{account.address}')}"
    profile = {
        **_payload("Configuration", identity, account),
        "PayloadContent": [{**_payload("com.apple.mail.managed", f"{identity}.account", account), **_account(account)}],
    }
    return plistlib.dumps(profile)


def _payload(kind: str, identity: str, account: Account) -> dict[str, Any]:
    return {
        "PayloadType": kind,
        "PayloadVersion": 1,
        "PayloadIdentifier": identity,
        "PayloadUUID": str(uuid.uuid5(uuid.NAMESPACE_URL, identity)).upper(),
        "PayloadDisplayName": account.name,
        "PayloadDescription": f"Mail of {account.address}",
    }


def _account(account: Account) -> dict[str, Any]:
    incoming, outgoing = account.mail.incoming, account.mail.outgoing[0]
    return {
        "EmailAccountDescription": account.name,
        "EmailAccountType": "EmailTypeIMAP",
        "EmailAddress": account.address,
        "IncomingMailServerAuthentication": "EmailAuthPassword",
        "IncomingMailServerHostName": incoming.host,
        "IncomingMailServerPortNumber": incoming.port,
        "IncomingMailServerUseSSL": True,
        "IncomingMailServerUsername": account.login,
        "OutgoingMailServerAuthentication": "EmailAuthPassword",
        "OutgoingMailServerHostName": outgoing.host,
        "OutgoingMailServerPortNumber": outgoing.port,
        "OutgoingMailServerUseSSL": True,
        "OutgoingMailServerUsername": account.login,
        "OutgoingPasswordSameAsIncomingPassword": True,
    }
