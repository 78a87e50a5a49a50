"""Each command or family of commands has a module."""
