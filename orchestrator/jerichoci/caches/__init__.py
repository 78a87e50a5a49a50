"""Caches: directories that jobs find again as earlier jobs, which passed, left them."""
