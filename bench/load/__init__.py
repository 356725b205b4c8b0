"""The load: Postfix's smtp-source and smtp-sink where they do, own generators where they cannot.

Own generators are processes of their own, `python -m bench.load.NAME`, that print one line of JSON (load/child). How
much of a core each generator took is a figure of the run: where it took a whole one, it was the limit.
"""
