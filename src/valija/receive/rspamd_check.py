"""rspamd's word on a message, and what comes of it.

    ground = RspamdGround(rspamd, condition, options, resolver, hostname)
    Offer("rspamd", lambda client: RspamdCheck(ground), STAGES, of_users=options.users)

| rspamd says | what becomes of it |
|---|---|
| reject | 550 5.7.1, with its words; or what `on_reject` says |
| soft reject | 451 4.7.1, with its words |
| greylist | it goes on; or what `on_greylist` says |
| add header, rewrite subject | it goes on, and is put aside as unwanted |
| quarantine, discard | it is held; it is thrown away |
| all else | it goes on |

`greylist` is no more than a score: the filter that greylists says `soft reject`, and remembers whom it has seen. By the
score alone a message would be sent away each time it comes.

What has no opinion meets what `on_failure` says. Fields are added and removed as rspamd wants them, the client's host
name is looked up for it while the message arrives.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from valija.dns.resolver import Resolver
from valija.dns.reverse import confirmed_name
from valija.mail.envelope import Envelope
from valija.mail.reply import Reply
from valija.receive.checks import Candidate, Check, Client, ContentAnswer, Stage, Verdict
from valija.rspamd.changes import changed_header
from valija.rspamd.client import Message, RspamdClient, TooLarge
from valija.rspamd.condition import Condition, RspamdAway
from valija.rspamd.options import RspamdOptions
from valija.rspamd.reply import Opinion
from valija.rspamd.request import Facts
from valija.smtp.events import Mail

STAGES: Final = Stage.MAIL | Stage.CONTENT

_NAME_PATIENCE: Final = 5.0  # seconds for the DNS to tell the client's name
_AWAY: Final = Reply(451, "4.7.1", "The message can't be examined now, try again later")


class RspamdGround(msgspec.Struct, frozen=True):
    """What all sessions share. `hostname` is the name that we ask in."""

    rspamd: RspamdClient
    condition: Condition
    options: RspamdOptions
    resolver: Resolver
    hostname: str


class RspamdCheck(Check):
    """One session's."""

    def __init__(self, ground: RspamdGround) -> None:
        self._ground = ground
        self._name: asyncio.Task[str] | None = None

    def on_mail(self, client: Client, mail: Mail) -> None:
        """Have the client's name looked up, once."""
        if self._name is None and client.address:
            address = client.address.partition("%")[0]
            self._name = asyncio.create_task(confirmed_name(self._ground.resolver, address, _NAME_PATIENCE))

    def on_content(self, client: Client, envelope: Envelope, content: Candidate) -> ContentAnswer:
        """Ask, unless the message is too large to be asked about."""
        size = len(content.header) + len(b"\r\n") + content.body_size
        limit = self._ground.options.max_size
        return _not_scanned(f"larger than {limit} octets") if size > limit else self._judged(client, envelope, content)

    def close(self) -> None:
        """End what runs."""
        if self._name is not None:
            self._name.cancel()

    async def _judged(self, client: Client, envelope: Envelope, content: Candidate) -> Verdict:
        ground = self._ground
        message = Message(content.header + b"\r\n", content.body_size, content.read_body)
        try:
            facts = await self._facts(client, envelope, content)
            opinion = await ground.condition.ask(lambda: ground.rspamd.scan(facts, message))
        except TooLarge:
            return _not_scanned("larger than rspamd takes")
        except RspamdAway as away:
            verdict = _not_scanned(str(away))
            refuses = ground.options.on_failure == "tempfail"
            return msgspec.structs.replace(verdict, refusal=_AWAY) if refuses else verdict
        return verdict_on(opinion, content.header, ground.options)

    async def _facts(self, client: Client, envelope: Envelope, content: Candidate) -> Facts:
        return Facts(
            queue_id=content.queue_id,
            reverse_path=envelope.reverse_path,
            recipients=[recipient.address for recipient in envelope.recipients],
            mta_name=self._ground.hostname,
            address=client.address.partition("%")[0],
            helo=client.helo,
            host_name=await asyncio.shield(self._name) if self._name is not None else "",
            login=client.login,
            tls=client.tls,
        )


def _not_scanned(why: str) -> Verdict:
    return Verdict(findings=(("rspamd", f"not scanned: {why}"),))


def verdict_on(opinion: Opinion, header: bytes, options: RspamdOptions) -> Verdict:
    """Return what comes of an opinion. Pure."""
    verdict = Verdict(header=changed_header(header, opinion), findings=_findings(opinion))
    if opinion.reverse_path is not None:
        verdict = msgspec.structs.replace(verdict, reverse_path=opinion.reverse_path)
    decide = _DECISIONS.get(opinion.action)
    return verdict if decide is None else decide(verdict, opinion, options)


def _findings(opinion: Opinion) -> tuple[tuple[str, str], ...]:
    score = f"{opinion.score:.2f}/{opinion.required:.2f}"
    found = (("rspamd", opinion.action), ("rspamd_score", score))
    return (*found, ("rspamd_symbols", ",".join(opinion.symbols))) if opinion.symbols else found


# What comes of each action


def _on_reject(verdict: Verdict, opinion: Opinion, options: RspamdOptions) -> Verdict:
    if options.on_reject == "hold":
        return _held(verdict, opinion, options)
    if options.on_reject == "junk":
        return _junk(verdict, opinion, options)
    return _refused(verdict, Reply(550, "5.7.1", opinion.message or "The message is refused as unwanted"))


def _deferred(verdict: Verdict, opinion: Opinion, options: RspamdOptions) -> Verdict:
    return _refused(verdict, Reply(451, "4.7.1", opinion.message or "Try again later"))


def _on_greylist(verdict: Verdict, opinion: Opinion, options: RspamdOptions) -> Verdict:
    return _deferred(verdict, opinion, options) if options.on_greylist == "tempfail" else verdict


def _refused(verdict: Verdict, reply: Reply) -> Verdict:
    return msgspec.structs.replace(verdict, refusal=reply)


def _junk(verdict: Verdict, opinion: Opinion, options: RspamdOptions) -> Verdict:
    return msgspec.structs.replace(verdict, junk=f"rspamd: {opinion.action}")


def _held(verdict: Verdict, opinion: Opinion, options: RspamdOptions) -> Verdict:
    return msgspec.structs.replace(verdict, hold=f"rspamd: {opinion.action}")


def _discarded(verdict: Verdict, opinion: Opinion, options: RspamdOptions) -> Verdict:
    return msgspec.structs.replace(verdict, discards=True)


_DECISIONS: Final[Mapping[str, Callable[[Verdict, Opinion, RspamdOptions], Verdict]]] = {
    "reject": _on_reject,
    "soft reject": _deferred,
    "greylist": _on_greylist,
    "add header": _junk,
    "rewrite subject": _junk,
    "quarantine": _held,
    "discard": _discarded,
}
