"""Command lines as Swift's ArgumentParser reads them."""

from __future__ import annotations

from typing import NamedTuple

from tart.failure import wrong


class Syntax(NamedTuple):
    """What a command takes; an option is there by each of its names."""

    usage: str
    positionals: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    several: bool = False
    """The last positional may be there more than once."""
    passes_through: bool = False
    """All that follows the first positional is taken as it is."""


class Arguments:
    def __init__(self) -> None:
        self.positionals: list[str] = []
        self.flags: set[str] = set()
        self.options: dict[str, list[str]] = {}

    def option(self, *names: str) -> str | None:
        """The last value of an option that has one value."""
        values = [value for name in names for value in self.options.get(name, [])]
        return values[-1] if values else None


def parse(syntax: Syntax, words: list[str]) -> Arguments:
    """Read what follows a command's name."""
    found = Arguments()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if syntax.passes_through and not _are_flags(syntax, word):
            found.positionals += [word, *rest]
            break
        if _are_flags(syntax, word):
            found.flags |= {word} if word.startswith("--") else {f"-{each}" for each in word[1:]}
        elif name in syntax.options:
            if not equals and not rest:
                raise wrong(f"Missing value for '{name} <value>'", syntax.usage)
            found.options.setdefault(name, []).append(value if equals else rest.pop(0))
        elif word == "--":
            found.positionals += rest
            break
        elif word.startswith("-") and word != "-":
            raise wrong(f"Unknown option '{word}'", syntax.usage)
        else:
            found.positionals.append(word)
    wanted, given = len(syntax.positionals), len(found.positionals)
    if given < wanted:
        raise wrong(f"Missing expected argument '<{syntax.positionals[given]}>'", syntax.usage)
    if given > wanted and not syntax.several:
        raise wrong(f"Unexpected argument '{found.positionals[wanted]}'", syntax.usage)
    return found


def number(arguments: Arguments, *names: str) -> int | None:
    """An option's value that is a number and no less than 0."""
    value = arguments.option(*names)
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal()):
        raise wrong(f"The value '{value}' is invalid for '{names[-1]} <{names[-1].strip('-')}>'")
    return int(value)


def _are_flags(syntax: Syntax, word: str) -> bool:
    if word in syntax.flags:
        return True
    short = word.startswith("-") and not word.startswith("--") and len(word) > 1
    return short and all(f"-{letter}" in syntax.flags for letter in word[1:])
