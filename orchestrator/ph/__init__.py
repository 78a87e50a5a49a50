"""The forge's command line for people: it speaks HTTP, and imports nothing else of this project."""
