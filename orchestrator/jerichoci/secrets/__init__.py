"""A job's secrets: found here when a run begins, kept in memory, given to the jobs that ask."""
