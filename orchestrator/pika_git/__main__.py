"""The `pika-git` program."""


def main() -> None:
    """Run the forge's command line."""
    from pika_git.cli import run

    run()


if __name__ == "__main__":
    main()
