"""The replies that the server machine gives by itself: what needs no decision has its words here, once.

Enhanced codes follow RFC 3463; replies to EHLO, HELO and the banner carry none (RFC 2034 section 3).
"""

from typing import Final

from valija.mail.reply import Reply

# Order and gates
HELLO_FIRST: Final = Reply(503, "5.5.1", "Say EHLO or HELO first")
MAIL_FIRST: Final = Reply(503, "5.5.1", "MAIL comes first")
NESTED: Final = Reply(503, "5.5.1", "Not inside a mail transaction: end it or send RSET")
RESET_FIRST: Final = Reply(503, "5.5.1", "The transaction has failed: send RSET")
IN_CHUNKS: Final = Reply(503, "5.5.1", "BDAT has begun: finish with BDAT ... LAST or send RSET")
NO_RECIPIENTS: Final = Reply(554, "5.5.1", "No valid recipients")
TLS_FIRST: Final = Reply(530, "5.7.0", "Must issue STARTTLS first")
AUTH_NEEDS_TLS: Final = Reply(538, "5.7.11", "Encryption required for authentication: use STARTTLS first")
AUTH_FIRST: Final = Reply(530, "5.7.0", "Authentication required")
ALREADY_AUTHENTICATED: Final = Reply(503, "5.5.1", "Already authenticated")
ALREADY_TLS: Final = Reply(503, "5.5.1", "TLS is active already")

# Commands and their syntax
UNKNOWN: Final = Reply(500, "5.5.1", "Command unrecognised")
NOT_IMPLEMENTED: Final = Reply(502, "5.5.1", "Command not implemented")
FOREIGN: Final = Reply(500, "5.5.1", "This server speaks SMTP")
CONTROL_CHARACTERS: Final = Reply(500, "5.5.2", "Bare CR, bare LF or another control character in a command line")
NOT_UTF8: Final = Reply(501, "5.5.2", "Commands are ASCII or valid UTF-8")
LINE_TOO_LONG: Final = Reply(500, "5.5.6", "Line too long")
NO_ARGUMENT: Final = Reply(501, "5.5.4", "This command takes no argument")
BAD_HELLO: Final = Reply(501, "5.5.4", "Syntax: EHLO hostname")
BAD_BDAT: Final = Reply(501, "5.5.4", "Syntax: BDAT size [LAST]")
BAD_AUTH: Final = Reply(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
BAD_VRFY: Final = Reply(501, "5.5.4", "Syntax: VRFY address")
BAD_BASE64: Final = Reply(501, "5.5.2", "Not valid base64")
AUTH_CANCELLED: Final = Reply(501, "5.7.0", "Authentication cancelled")
NOT_ASCII: Final = Reply(501, "5.5.2", "This command takes ASCII only")
NEEDS_SMTPUTF8: Final = Reply(553, "5.6.7", "Internationalised address without SMTPUTF8")
UNKNOWN_PARAMETER: Final = Reply(555, "5.5.4", "Parameter not recognised")
BINARY_BY_CHUNKS: Final = Reply(503, "5.5.1", "A BINARYMIME message comes by BDAT: send RSET")
BAD_PARAMETER: Final = Reply(501, "5.5.4", "Parameter malformed, repeated or without meaning")
GARBAGE_AFTER_PATH: Final = Reply(501, "5.5.4", "Unexpected text after the path")
MAIL_SYNTAX: Final = Reply(501, "5.5.2", "Syntax: MAIL FROM:<address> [parameters]")
RCPT_SYNTAX: Final = Reply(501, "5.5.2", "Syntax: RCPT TO:<address> [parameters]")
BAD_REVERSE_PATH: Final = Reply(501, "5.1.7", "Bad sender address syntax")
BAD_FORWARD_PATH: Final = Reply(501, "5.1.3", "Bad recipient address syntax")

# Limits
TOO_BIG: Final = Reply(552, "5.3.4", "Message size exceeds the limit")
BINARY_TOO_BIG: Final = Reply(552, "5.3.4", "Message size exceeds the limit for BINARYMIME: send it as base64")
TOO_MANY_RECIPIENTS: Final = Reply(452, "4.5.3", "Too many recipients")
TOO_MANY_ERRORS: Final = Reply(421, "4.7.0", "Too many errors")
TOO_MANY_REFUSED: Final = Reply(421, "4.7.0", "Too many refused recipients")
TOO_MUCH_JUNK: Final = Reply(421, "4.7.0", "Too many commands that move no mail")
TOO_MANY_LOGINS: Final = Reply(421, "4.7.0", "Too many failed logins")
TOO_MUCH_AHEAD: Final = Reply(421, "4.7.0", "Too much sent ahead of the replies")

# Content
BARE_LINE_ENDS: Final = Reply(554, "5.6.0", "Message refused: bare CR, bare LF or NUL in the content")
CHUNK_RECEIVED: Final = Reply(250, "2.0.0", "Chunk received")

# Talking out of turn
BEFORE_BANNER: Final = Reply(554, "5.5.0", "Spoke before the banner")
AHEAD_OF_TLS: Final = Reply(554, "5.5.0", "Octets behind STARTTLS")
AHEAD_OF_354: Final = Reply(554, "5.5.0", "Content sent before the 354")

# Plain answers
OK: Final = Reply(250, "2.0.0", "Ok")
CANNOT_VERIFY: Final = Reply(252, "2.0.0", "Cannot verify a user, but will take the message and try")
HELP: Final = Reply(214, "2.0.0", "See RFC 5321")
READY_FOR_TLS: Final = Reply(220, "2.0.0", "Ready to start TLS")
BYE: Final = Reply(221, "2.0.0", "Bye")
