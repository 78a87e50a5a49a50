"""Services: programs that run beside a job, on the same host or in the same guest."""
