"""One machine: processes, workspaces, slots, and what jobs leave."""
