"""sendmail(1) for the programs of this machine: flags, text from standard input, and the way to the server.

It runs with the rights of whoever calls it and has none of its own. It imports little, to be there at once.
"""
