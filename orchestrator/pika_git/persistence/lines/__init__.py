"""The lines that queued lanes stand in, and what keeps them out: below the queue and health.

What a lane waits for is decided when something changes, for the lanes that the change concerns:
`placing` has a function for each kind of change.
"""
