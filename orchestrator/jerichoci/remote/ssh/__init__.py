"""Connections to other machines by ssh: who is there, who we are, and what goes through."""
