"""The demonstration behind ./run: the real server, and a next hop that catches and shows what it is handed."""
