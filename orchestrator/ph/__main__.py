"""The `ph` program."""


def main() -> None:
    """Run the operator's command line."""
