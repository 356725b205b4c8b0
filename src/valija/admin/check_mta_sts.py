"""What `valija check` and `valija dns --check` find about the MTA-STS policy of a hosted domain (RFC 8461).

    for finding in await check_mta_sts(config, "example.org", resolver, facts):
        print(finding)

A domain may do without. One that has a policy has to keep it: whoever has fetched one that does not name this server
hands over no mail here, for as long as the policy is good.
"""

from valija.admin.check_host import DnsFacts
from valija.admin.findings import Finding, failure, fine, optional, warning
from valija.config import Config
from valija.dns.mta_sts import NotFetched, policy_url
from valija.dns.resolver import Resolver, Status
from valija.policy.mta_sts import StsPolicy, policy_id, policy_lines
from valija.policy.mta_sts_own import policy_record


async def check_mta_sts(config: Config, domain: str, resolver: Resolver, facts: DnsFacts) -> list[Finding]:
    """Return the findings about a domain's policy."""
    answer = await resolver.lookup(f"_mta-sts.{domain}", "TXT")
    if answer.status is Status.FAILED:
        return []
    if not any(text.startswith("v=STSv1") for text in answer.records):
        return [optional("mta-sts", f"{domain} has no MTA-STS policy; it may do without")]
    identity = policy_id(answer.records)
    if identity is None:
        text = f"the record of _mta-sts.{domain} is none that others understand: they fetch no policy"
        return [warning("mta-sts", text, "leave one record there, v=STSv1; id=... in letters and digits")]
    found = _check_identity(config, domain, identity)
    if facts.fetch_policy is None:
        return found or [fine("mta-sts", f"{domain} has an MTA-STS policy; its MX hosts have to keep it")]
    return [*found, await _check_policy(config, domain, facts)]


def _check_identity(config: Config, domain: str, identity: str) -> list[Finding]:
    """Return a finding where the record does not go with the policy that is served here."""
    ours = policy_record(config.site.policy)
    if not config.https.listen or policy_id([ours]) == identity:
        return []
    text = f"the record of _mta-sts.{domain} is not that of the policy served here: others notice no change"
    return [warning("mta-sts", text, f'publish: _mta-sts.{domain}. IN TXT "{ours}"')]


async def _check_policy(config: Config, domain: str, facts: DnsFacts) -> Finding:
    """Return what is to be said of the policy that others fetch."""
    assert facts.fetch_policy
    try:
        policy = await facts.fetch_policy(domain)
    except NotFetched as failed:
        text = f"the MTA-STS policy of {domain} cannot be fetched, so that new senders go without: {failed}"
        return warning("mta-sts", text, f"serve it at {policy_url(domain)}, or take the record away")
    if policy.mode != "none" and config.smtpd.listen and not policy.matches(config.hostname):
        return _names_others(config, domain, policy)
    if config.https.listen and policy.lines != policy_lines(config.site.policy):
        text = f"another policy than this server's is fetched from mta-sts.{domain}"
        return warning("mta-sts", text, f"let mta-sts.{domain} lead to {config.hostname}, or reload the server")
    return fine("mta-sts", f"{domain} has an MTA-STS policy, mode {policy.mode}, and others can fetch it")


def _names_others(config: Config, domain: str, policy: StsPolicy) -> Finding:
    grade = failure if policy.mode == "enforce" else warning
    text = f"the MTA-STS policy of {domain}, mode {policy.mode}, does not name {config.hostname}"
    return grade("mta-sts", f"{text}: who keeps to it hands over no mail here", f"add to it: mx: {config.hostname}")
