"""Why a client, a login, a sender, a recipient or a content was refused here, and what to do about it. Pure.

    judgement = judge(event)        # None for a line that refuses nothing
    judgement.cause, judgement.remedy

Judged by the line's event, the check that refused, and the enhanced status code of our reply (RFC 3463).
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from valija.history.lines import Event


class Judgement(NamedTuple):
    """The likely cause, and what to do."""

    cause: str
    remedy: str


def judge(event: Event) -> Judgement | None:
    """Return why a line's refusal was, None for any other line."""
    judge_it = _JUDGES.get(event.event)
    return judge_it(event) if judge_it else None


def status_in(reply: str) -> str:
    """Return the enhanced status code of a reply, `""` where it has none."""
    words = reply.split(" ", 2)
    return words[1] if len(words) > 1 and words[1].count(".") == 2 else ""


# Recipients and senders


def _recipient(event: Event) -> Judgement:
    recipient, client, reply = event.get("recipient"), event.get("client"), event.get("reply")
    if "Relay access denied" in reply:
        return Judgement(
            f"[{client}] is not in mynetworks and had not logged in, and <{recipient}> is not in a domain hosted here: "
            "only clients that are known may send elsewhere.",
            "If it is a client of yours: have it log in on port 465 or 587, or name its network in mynetworks. If the "
            "domain is yours: add it to domains. If neither, this is as it should be.",
        )
    return _STATUS.get(status_in(reply), _by_its_words)(event)


def _no_such_user(event: Event) -> Judgement:
    return Judgement(
        f"There is no account and no alias <{event.get('recipient')}> here.",
        "If there should be: `valija user add` or `valija alias add`. If not, the sender has the wrong address.",
    )


def _sender(event: Event) -> Judgement:
    login = event.get("login")
    if not login:
        return Judgement(
            f"A client that had not logged in used {event.get('reverse_path')}, an address of a hosted domain.",
            "If it is a client of yours: have it log in, or name its network in mynetworks. See [smtpd] "
            "reject_own_senders.",
        )
    return _STATUS.get(status_in(event.get("reply")), _not_theirs)(event)


def _not_theirs(event: Event) -> Judgement:
    login, name = event.get("login"), event.get("reverse_path") or "an address"
    return Judgement(
        f"{login} tried to send as {name}, which is not an address of that account.",
        f"Set the right address in the mail program; or, if {login} may use it: `valija alias add ADDRESS {login}`.",
    )


def _frozen(event: Event) -> Judgement:
    login = event.get("login")
    return Judgement(
        f"The account {login} is frozen.",
        f"`valija why {login}` tells since when and why. When its password is changed: `valija user unfreeze {login}`.",
    )


def _limited(event: Event) -> Judgement:
    return Judgement(
        f"The account {event.get('login')} has sent as much as it may in a day.",
        "It may go on when the reply says so. Give it a limit of its own, if it needs more.",
    )


# Contents


def _content(event: Event) -> Judgement:
    fields, status = event.fields, status_in(event.get("reply"))
    if by_filter := _by_milter(event) or _by_rspamd(event, status):  # what was found before refused nothing
        return by_filter
    if fields.get("dmarc") == "fail":
        author = fields.get("author", "the domain in From")
        return Judgement(
            f"{author} publishes that mail is to be refused which is not proven to be its own (DMARC), and neither SPF "
            f"({fields.get('spf', 'none')}) nor DKIM ({fields.get('dkim', 'none')}) proved it.",
            "If it came by a forwarder or list that you trust, name it in [checks] trusted_arc_sealers. Else it is the "
            "sender's domain that has to put its records right, or the mail is forged.",
        )
    if status.endswith(".7.1") and event.get("login"):
        return _not_theirs(event)
    return _STATUS.get(status, _by_its_words)(event)


def _by_milter(event: Event) -> Judgement | None:
    """Return why a milter had a content refused, None where none did."""
    what, _, place = event.get("milter").rpartition(" ")
    if what == "refused by":
        return Judgement(
            f"The filter at {place} refused it: {event.get('reply')}",
            "Its own log says why. Its settings are the place to mend that, or `milters` in the configuration.",
        )
    if what == "not asked:":
        return Judgement(
            f"The filter at {place} could not be asked about it.",
            "See whether it answers now: `valija check`. What becomes of mail in the meantime is said by [milter] "
            "default_action.",
        )
    return None


def _by_rspamd(event: Event, status: str) -> Judgement | None:
    """Return why rspamd had a content refused, None where it did not."""
    said = event.get("rspamd")
    if said.startswith("not scanned: ") and status == "4.7.1":
        return Judgement(
            f"rspamd could not be asked about it: {said.removeprefix('not scanned: ')}.",
            "See whether it answers now: `valija check`. Clients try again by themselves. What becomes of mail in the "
            "meantime is said by [rspamd] on_failure.",
        )
    if said == "reject" and status == "5.7.1":
        rules = f", by the rules {event.get('rspamd_symbols')}" if event.get("rspamd_symbols") else ""
        return Judgement(
            f"rspamd takes it for unwanted mail: score {event.get('rspamd_score')}{rules}.",
            "If it was wanted, let rspamd learn that (`rspamc learn_ham`), or give those rules less weight. [rspamd] "
            "on_reject keeps such mail instead of refusing it.",
        )
    if said in ("soft reject", "greylist") and status == "4.7.1":
        return Judgement(
            "rspamd wants it to come again later, as it does with senders that it does not know yet (greylisting).",
            "A proper server tries again by itself. Where it goes on too long, rspamd's own log names the filter.",
        )
    return None


def _form(event: Event) -> Judgement:
    return Judgement(
        "The message is not formed as the standards want it; our reply says where.",
        "The program that made it has to be put right. Repairing such mail here would let forgeries through.",
    )


def _too_large(event: Event) -> Judgement:
    return Judgement("The message is larger than message_size_limit.", "Raise it if you want such mail.")


def _loop(event: Event) -> Judgement:
    return Judgement(
        "The message has been through too many servers: it goes round in circles.",
        "See where aliases, forwardings and MX records lead: `valija route ADDRESS`.",
    )


def _no_room(event: Event) -> Judgement:
    return Judgement("The disk of the queue is full.", "Make room; `valija check` names the disk. Clients try again.")


def _by_its_words(event: Event) -> Judgement:
    return Judgement(f"It was refused here: {event.get('reply')}", "Our reply above says what is wanted.")


_STATUS: Final[Mapping[str, Callable[[Event], Judgement]]] = {
    "5.1.1": _no_such_user,
    "5.7.13": _frozen,
    "4.7.13": _frozen,
    "4.7.28": _limited,
    "4.5.3": _limited,
    "5.3.4": _too_large,
    "5.2.3": _too_large,
    "5.4.6": _loop,
    "4.3.1": _no_room,
    "5.5.2": _form,
    "5.6.0": _form,
    "5.6.1": _form,
    "5.6.3": _form,
}

# Checks


def _check(event: Event) -> Judgement:
    name, client = event.get("check"), event.get("client")
    cause, remedy = _CHECKS.get(name, (f"The check {name} refused it.", _LOOK_AT_CHECK.format(name=name)))
    return Judgement(cause.format(client=client, helo=event.get("helo")), remedy)


_LOOK_AT_CHECK: Final = "Our reply above has its words; the check {name} is switched on in the configuration."
_CHECKS: Final[Mapping[str, tuple[str, str]]] = {
    "dnsbl": (
        "[{client}] is on a block list that this server asks; our reply names it.",
        "Whoever runs that client can ask the list to be taken off. If the list is wrong too often, leave it out of "
        "[checks], or have such mail put aside instead of refused.",
    ),
    "helo": (
        'The client called itself "{helo}", which no proper mail server does; our reply says what is wrong with it.',
        "The server there has to be given its full host name. If it is one of yours: name its network in mynetworks.",
    ),
    "authentication": (
        "SPF or the reverse name of [{client}] speaks against it; our reply says which.",
        "The sender's domain has to list that address in its SPF record, or the server there needs a name that leads "
        "back to it. Where forwarded mail suffers, set [checks] spf so that it only tells.",
    ),
}

# Logins


def _wrong(event: Event) -> Judgement:
    login = event.get("login")
    name = f'"{login}"' if login else "a login that was not told"
    return Judgement(
        f"The password for {name} was wrong, or there is no such login.",
        "If its owner cannot get in: `valija user list`, then `valija user passwd ADDRESS`. A mail program that keeps "
        "an old password goes on trying it.",
    )


def _throttled(event: Event) -> Judgement:
    return Judgement(
        f"There were too many wrong passwords from [{event.get('client')}] or for this login within the hour, so that "
        "logins from there are not looked at for a while.",
        "It ends by itself within an hour. Where one of your own networks is shut out, name it in mynetworks, or see "
        "[sasl] failed_login_limit.",
    )


def _unavailable(event: Event) -> Judgement:
    return Judgement(
        f"Nobody could tell whether the login is right: {event.get('reason')}.",
        "See that Dovecot (or PAM) runs and can be asked: `valija check`. Clients try again by themselves.",
    )


def _malformed(event: Event) -> Judgement:
    return Judgement(
        "The client's part of the login made no sense.",
        "Most often a scanner, or a broken program; try another mechanism there.",
    )


def _token(event: Event) -> Judgement:
    return Judgement(
        f"The access token was refused: {event.get('reason')}.",
        "Log in anew in the mail program; see [sasl] for whose tokens are taken.",
    )


def _login_frozen(event: Event) -> Judgement:
    return _frozen(event)


# Clients


def _turned_away(event: Event) -> Judgement:
    return Judgement(
        f"[{event.get('client')}] had too many connections, or asked for too many recipients that do not exist, "
        f"or all clients together had too many: {event.get('reply')}",
        "The limits are settings of that listener: client_connection_count_limit, client_connection_rate_limit and "
        "unknown_recipient_limit. The client tries again by itself.",
    )


_JUDGES: Final[Mapping[str, Callable[[Event], Judgement]]] = {
    "recipient refused": _recipient,
    "sender refused": _sender,
    "content refused": _content,
    "refused by a check": _check,
    "login refused": _wrong,
    "login throttled": _throttled,
    "login unavailable": _unavailable,
    "login malformed": _malformed,
    "login frozen": _login_frozen,
    "token refused": _token,
    "client turned away": _turned_away,
}
