"""L5: what valija and systemd have to say to each other. Nothing here is needed where there is no systemd.

notify.py       the server's word on how it is (sd_notify), and the watchdog
activation.py   sockets that systemd has bound, and what they are for
units.py        the unit files, from the configuration and the facts of a machine
sandbox.py      what a unit allows the server
"""
