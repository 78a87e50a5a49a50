"""Other machines as placements: a session to an agent, and what goes through it."""
