"""The `ph` program."""


def main() -> None:
    """Run the operator's command line."""
    import sys

    from ph.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
