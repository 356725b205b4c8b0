"""L5: the first configuration of a machine, `valija init`: find out, decide, write, and say what is left to do.

facts.py           what the machine and the DNS tell
choices.py         what follows from it, each choice with its reason: a pure function
configuration.py   the commented configuration that says so
writing.py         the file, the service's user and its folder
todo.py            what only people can do: DNS records, the firewall, other mail servers, the next commands
"""
