"""Servers of others that demos and tests start: each in a folder of its own, on 127.0.0.1."""
