"""One command a module, each called `command`."""
