"""Ratios against named peers, measured interleaved in one run. `make bench` prints the table."""
