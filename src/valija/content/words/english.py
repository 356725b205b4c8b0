"""The words of reports in English."""

from typing import Final

from valija.content.reported import ReportKind
from valija.content.trouble import Actor, Trouble
from valija.content.words.vocabulary import Advice, Pair, Vocabulary

_ADVICE: Final = {
    Trouble.NO_SUCH_USER: Advice(
        "The address does not exist.",
        "Look for a typing mistake, or ask the recipient for the right address; then send the message again.",
    ),
    Trouble.NO_SUCH_DOMAIN: Advice(
        "The part of the address after the @ does not exist.",
        "Look for a typing mistake after the @, and send the message again.",
    ),
    Trouble.BAD_ADDRESS: Advice(
        "The address, as it is written, was not accepted.",
        "Check it letter by letter, and send the message again.",
    ),
    Trouble.MOVED: Advice(
        "The recipient has moved to another address, and it is not known to which.",
        "Ask the recipient for the new address.",
    ),
    Trouble.OWN_ADDRESS: Advice(
        "The recipient's server does not accept your own address as that of a sender.",
        "Check your address in your mail program. If it is right, forward this report to your postmaster.",
    ),
    Trouble.NULL_MX: Advice(
        "The domain of the address declares that it takes no mail at all.",
        "Ask the recipient for another address.",
    ),
    Trouble.MAILBOX_CLOSED: Advice(
        "The recipient's mailbox is closed.",
        "Ask the recipient, by other means, for another address.",
    ),
    Trouble.MAILBOX_FULL: Advice(
        "The recipient's mailbox is full.",
        "Tell the recipient by other means to make room, and send the message again when that is done.",
    ),
    Trouble.MAILBOX: Advice(
        "Something is wrong with the recipient's mailbox.",
        "Tell the recipient by other means: only they, or their postmaster, can put it right.",
    ),
    Trouble.TOO_LARGE: Advice(
        "The message is larger than the recipient's server takes.",
        "Send it with fewer or smaller attachments, or share large files by a link.",
    ),
    Trouble.TOO_MANY: Advice(
        "The message has more recipients than the server takes at once.",
        "Send it to fewer recipients at a time.",
    ),
    Trouble.THEIR_SERVER: Advice(
        "The recipient's mail server is out of order.",
        "Send the message again later. If it comes back once more, tell the recipient by other means.",
    ),
    Trouble.OUR_SERVER: Advice(
        "This server, or the way it is set up, has a fault.",
        "Forward this report to your postmaster.",
    ),
    Trouble.UNREACHABLE: Advice(
        "The recipient's mail server could not be reached.",
        "Look for a typing mistake after the @. If there is none, tell the recipient by other means, and send the "
        "message again later.",
    ),
    Trouble.PUT_OFF: Advice(
        "The recipient's server says that it will take the message later. Many servers do so while they are busy, or "
        "do not know a sender yet (greylisting).",
        "Send the message again later. If it comes back once more, tell the recipient by other means: their "
        "postmaster can find out why the server never took it.",
    ),
    Trouble.LOOP: Advice(
        "The message was sent round in circles and never came to a mailbox.",
        "Forward this report to your postmaster: one of the servers on the way leads mail back to where it came from.",
    ),
    Trouble.DEADLINE: Advice(
        "The message was to be delivered within a time that you had set, and that time is over.",
        "If it is still of use, send it again with more time, or without a limit.",
    ),
    Trouble.NO_DEADLINE: Advice(
        "You asked that the message be delivered within a time, or come back. The recipient's server cannot keep to "
        "that, so the message was not sent.",
        "Send it again without that limit.",
    ),
    Trouble.PROTOCOL: Advice(
        "The two mail servers did not understand each other.",
        "Forward this report to your postmaster.",
    ),
    Trouble.SCRIPT: Advice(
        "The recipient's server cannot take addresses or header fields written in other letters than plain a to z "
        "(it has no SMTPUTF8).",
        "Ask the recipient for an address in plain letters, and write from such an address yourself.",
    ),
    Trouble.CONTENT: Advice(
        "The recipient's server did not like the form of the message.",
        "Send it in a plainer form, such as without unusual attachments. If that does not help, forward this report "
        "to your postmaster.",
    ),
    Trouble.POLICY: Advice(
        "The recipient's server refused the message by its own rules. Often it takes the message, or where it comes "
        "from, for unwanted mail (spam).",
        "Read its words above, which may say what it objects to. If they tell you nothing, forward this report to "
        "your postmaster, who can talk to the other side.",
    ),
    Trouble.UNPROVEN_SENDER: Advice(
        "The recipient's server found no proof that the message comes from your domain (SPF, DKIM, DMARC), or that "
        "this server may send mail.",
        "Forward this report to your postmaster: the DNS records or the signatures of your domain have to be put "
        "right.",
    ),
    Trouble.LOGIN: Advice(
        "The next server wants this one to log in, or to encrypt, in a way that it did not.",
        "Forward this report to your postmaster: the settings of this server have to be put right.",
    ),
    Trouble.TLS_BY_SETTING: Advice(
        "This server is set to send there only over a protected connection (TLS), and none could be made that it may "
        "trust. So the message was not sent.",
        "Forward this report to your postmaster, who can find out which of the two servers is at fault.",
    ),
    Trouble.TLS_BY_DOMAIN: Advice(
        "The recipient's domain publishes that its servers can be reached over a protected connection and prove who "
        "they are (DANE or MTA-STS). The server that answered could not: either it is not set up right, or somebody "
        "stands in between. So the message was not sent.",
        "Tell the recipient by other means: their postmaster has to look at the certificate and the DNS records.",
    ),
    Trouble.TLS_BY_SENDER: Advice(
        "You asked that the message travel over protected connections only, all the way (REQUIRETLS). The recipient's "
        "server does not promise that, so the message was not sent.",
        "Send it again without that wish, if what it says may be seen on the way, or reach the recipient by another "
        "means.",
    ),
    Trouble.BARRED: Advice(
        "A rule of this server forbids it.",
        "Ask your postmaster, if the words above do not say enough.",
    ),
    Trouble.UNKNOWN: Advice(
        "The words above are all that is known.",
        "If they tell you nothing, forward this report to your postmaster.",
    ),
}

ENGLISH: Final = Vocabulary(
    language="en",
    follows="This report is also written in English, further below.",
    titles={
        ReportKind.FAILURE: "Mail not delivered",
        ReportKind.DELAY: "Mail delayed",
        ReportKind.SUCCESS: "Mail delivered",
        ReportKind.RELAYED: "Mail handed on",
    },
    recipients=Pair("{count} recipient", "{count} recipients"),
    openings={
        ReportKind.FAILURE: Pair(
            "Your message could not be delivered to the recipient named below. It will not be tried again.",
            "Your message could not be delivered to the {count} recipients named below. It will not be tried again.",
        ),
        ReportKind.DELAY: Pair(
            "Your message has not been delivered yet to the recipient named below. This is only a warning: this "
            "server goes on trying, and you need not send the message again.",
            "Your message has not been delivered yet to the {count} recipients named below. This is only a warning: "
            "this server goes on trying, and you need not send the message again.",
        ),
        ReportKind.SUCCESS: Pair(
            "Your message was delivered to the recipient named below, as you asked to be told.",
            "Your message was delivered to the {count} recipients named below, as you asked to be told.",
        ),
        ReportKind.RELAYED: Pair(
            "Your message was handed to the mail server of the recipient named below.",
            "Your message was handed to the mail servers of the {count} recipients named below.",
        ),
    },
    named_in_part="Only the first {count} of them are named here. All of them stand in the next part of this report.",
    same_answer="The answer was the same for these {count} recipients:",
    refused="The server {host} refused the message for good, and said:",
    put_off="The server {host} did not take the message when it was last tried, and said:",
    found="This server found:",
    delivered_by="Delivered by {host}.",
    delivered_here="Delivered to the mailbox here.",
    handed_to="Handed to {host}.",
    handed_on="Handed on.",
    unreported="The next server does not report deliveries, so no further confirmation will come.",
    untimed="The next server does not know of the time that you set for the delivery, and may be late.",
    and_others=Pair("and 1 more", "and {count} more"),
    expired="Delivery time expired after {duration}.",
    retried_until="It will be tried until {date}.",
    meaning="What it means",
    actor="Who has to act",
    deed="What to do",
    actors={
        Actor.SENDER: "You.",
        Actor.SENDER_OR_POSTMASTER: "You, or your postmaster.",
        Actor.RECIPIENT: "The recipient.",
        Actor.OUR_POSTMASTER: "Your postmaster.",
        Actor.THEIR_POSTMASTER: "The recipient's postmaster.",
    },
    their_postmaster="The postmaster of {domain}.",
    advice=_ADVICE,
    arrived="The message arrived here on {date}; its queue id is {queue_id}.",
    held="As you asked, it was held until {date}.",
    due="You asked for its delivery by {date}.",
    contact="This report was written by the mail server {hostname}. Your postmaster answers questions at "
    "postmaster@{hostname}; please give the queue id.",
    units={
        "day": Pair("{count} day", "{count} days"),
        "hour": Pair("{count} hour", "{count} hours"),
        "minute": Pair("{count} minute", "{count} minutes"),
        "second": Pair("{count} second", "{count} seconds"),
    },
    date="{weekday}, {day} {month} {year}, {time} UTC",
    weekdays=("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    months=(
        "January", "February", "March", "April", "May", "June",
        "July", "August", "September", "October", "November", "December",
    ),
)  # fmt: skip
