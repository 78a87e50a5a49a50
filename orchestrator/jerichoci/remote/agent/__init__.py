"""What runs on a remote host: it has the standard library and nothing else."""
