"""Where valija means to answer with another code than chasquid, and why. By dialogue, code there, code here."""

from typing import Final

BARE_PATH: Final = (
    "an address without angle brackets is refused (501, RFC 5321 section 4.1.2); it is said again with them"
)

_LIMIT: Final = "too many errors end a session here after 20, failed logins after 10, there after 3"
_SYNTAX: Final = (
    "501 is the code for a known command with a bad argument (RFC 5321 section 4.2.2), 500 for an unknown one"
)
_LINE_ENDS: Final = "the content is refused with 554; 521 would say that this server takes no mail at all (RFC 7504)"

DIFFERENCES: Final[dict[tuple[str, str, str], str]] = {
    ("auth_multi_dialog", "534", "504"): "504 is the code for a mechanism that is not offered (RFC 4954 section 4)",
    ("auth_not_tls", "503", "502"): "the port for servers knows no AUTH at all, with TLS or without",
    ("auth_too_many_failures", "421", "501"): _LIMIT,
    ("bad_data_dot", "521", "554"): _LINE_ENDS,
    ("bad_data_dot_2", "521", "554"): _LINE_ENDS,
    ("bad_data_dot_on_message_too_big", "521", "554"): _LINE_ENDS,
    ("bad_mail_from", "500", "501"): _SYNTAX,
    ("bad_rcpt_to", "500", "501"): _SYNTAX,
    (
        "bad_rcpt_to",
        "550",
        "553",
    ): "an address beyond ASCII without SMTPUTF8 has a code of its own (RFC 6531 section 3.5)",
    ("line_too_long", "554", "501"): "a line of this length is taken, and found to be no name; a longer one gets 500",
    ("wrong_proto", "502", "500"): "a request of HTTP is no command of SMTP, known or not; the session ends in both",
}
