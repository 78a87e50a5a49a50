"""The `pikaci` program. Ctrl-C ends it without a traceback from its first imports on."""


def leave(*_signal: object) -> None:
    """End at once."""
    import os

    try:
        os.write(2, b"pikaci: interrupted\n")
    finally:
        os._exit(130)


try:
    import signal

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not where the shell has it ignored
        signal.signal(signal.SIGINT, leave)
    # What starts this may block it, since Python has no handler without a traceback so early.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    from pikaci.program import end_to_end, run

    signal.signal(signal.SIGINT, before)
except KeyboardInterrupt:
    leave()


def main() -> None:
    """Run the command line and exit with the contract's code."""
    try:
        end_to_end()
    except KeyboardInterrupt:  # another one, while the first is handled
        leave()


if __name__ == "__main__":
    main()

__all__ = ["main", "run"]
