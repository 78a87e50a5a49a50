"""Snapshots of a work tree: taken, stored in a repository of our own, made into files."""
