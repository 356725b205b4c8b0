"""L6: the root helper, one small process that is still root when the server is not any more.

It is forked before privileges are dropped, where something needs it, and does three things:

- it asks PAM about a login;
- it reads the configuration file again, the one that the server was started with;
- it reads again the certificates and keys that this file names.

    process.py      the process: a loop that takes requests and forks a child for each
    chores.py       what a child does;  pam_call.py  how it asks PAM
    confinement.py  what root is left with
    messages.py     what is said, and the limits of it
    start.py        when it is needed, its start, its end as the server sees it
    link.py         a worker's or the supervisor's end of the line;  lent.py  certificates that came over it

What the server's processes say is not trusted: a worker may be in a stranger's hands. No request names a file. Nothing
leaves but a verdict, a configuration that is sound, and pairs of a certificate and its own key, named by a
configuration that the service's user could not have written. Root's own password cannot be tried.

It cannot be started again, since nobody is root any more: so its loop decodes small messages and no more, everything
that could go wrong or take long happens in a child, and the death of a child is an answer.
"""
