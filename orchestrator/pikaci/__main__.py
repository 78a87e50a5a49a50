"""The `pikaci` program. Ctrl-C ends it without a traceback from its first imports on."""


def leave(*_signal: object) -> None:
    """End at once, as nothing has begun."""
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
    from pikaci.program import main, run

    signal.signal(signal.SIGINT, before)
    if __name__ == "__main__":
        main()
except KeyboardInterrupt:
    leave()

__all__ = ["main", "run"]
