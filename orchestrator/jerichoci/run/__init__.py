"""Running a plan: the engine, its hosts, and what becomes of each node."""
