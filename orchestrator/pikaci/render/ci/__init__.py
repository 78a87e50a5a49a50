"""What CI servers read: groups, annotations, step summaries.

What a job prints is shown inside a server's log, where lines may be commands to that server. A
markup shows each such line so that it is no command: only pikaci issues any.
"""
