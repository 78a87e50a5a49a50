"""What can be said of the NixOS modules without a nixpkgs: their declarations, against their page.

No system is evaluated here; modules.nix does that by hand. options.nix says what its fakes are of.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nix.evaluation import ROOT, run_nix

MODULES = ROOT / "nix" / "modules"
PAGE = ROOT / "docs" / "nixos-options.md"


@pytest.fixture(scope="module")
def options() -> dict[str, dict[str, Any]]:
    done = run_nix(
        "eval", "--json", "--impure", "--file", str(Path(__file__).parent / "options.nix")
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    """The page's text by option."""
    parts = re.split(r"^## `(.*)`\n", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_option_is_on_the_page_and_no_other(
    options: dict[str, dict[str, Any]], sections: dict[str, str]
) -> None:
    assert sorted(sections) == sorted(options)


def test_the_page_says_what_the_modules_say(
    options: dict[str, dict[str, Any]], sections: dict[str, str]
) -> None:
    missing = [
        name
        for name, option in options.items()
        if option["description"].strip() not in sections[name]
    ]
    assert missing == []


def test_every_option_says_its_default_or_belongs_to_an_image(
    options: dict[str, dict[str, Any]],
) -> None:
    assert all(option["hasDefault"] for option in options.values())


def test_the_default_module_is_both() -> None:
    done = run_nix("eval", "--json", "--impure", "--file", str(MODULES), "imports")

    imports = [Path(path).name for path in json.loads(done.stdout)]
    assert imports == ["guest.nix", "incus-host.nix"]


@pytest.mark.parametrize(
    "name", ["docs.nix", "incus/image.nix", "incus/runner.nix", "modules/image-option.nix"]
)
def test_what_only_a_real_nixpkgs_evaluates_is_at_least_nix(name: str) -> None:
    file = ROOT / "nix" / name
    done = run_nix("eval", "--impure", "--expr", f"builtins.isFunction (import {file})")

    assert done.stdout == "true\n", done.stderr


def test_the_import_of_images_is_at_least_bash() -> None:
    subprocess.run(["bash", "-n", str(MODULES / "import-image.sh")], check=True, timeout=10)
