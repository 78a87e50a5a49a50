"""The state root: its layout, ids, locks, and files that are written whole."""
