"""Nix: its command lines, its logs, and the outputs it makes."""
