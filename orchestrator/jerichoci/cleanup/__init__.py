"""Removing what runs left: here, on hosts, in guests."""
