"""Makes docs/run.svg: a real `pikaci run` in a small repository, as a terminal shows it.

Run it in the project's environment: `python docs/picture.py`. It needs Nix, no network.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

from jerichoci.record.event import parse_event
from jerichoci.state.layout import StateLayout
from pikaci.location import slug
from pikaci.render.terminal import Terminal

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 100
COMMAND = ["pikaci", "run", "check"]
FONT_FACES = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)
"""Fonts from elsewhere; viewers use their own monospace font."""

FLAKE = """{
  outputs = _: {
    pikaci = (import ./lib).mkCatalog {
      systems = [ builtins.currentSystem or "x86_64-linux" ];
      targets = system: {
        check = {
          description = "Two builds, three jobs";
          prepare.parser.drv = import ./build.nix system "parser" "TOKEN" "sleep 1.2";
          prepare.fixtures.drv = import ./build.nix system "fixtures" "TOKEN" "sleep 0.4";
          jobs.lint.command = "echo no warnings; sleep 0.3";
          jobs.unit = {
            needs = [ "parser" ];
            command = "for n in 1 2 3; do echo test $n; sleep 0.2; done";
          };
          jobs.integration = {
            needs = [ "parser" "fixtures" ];
            command = "echo parsing 214 fixtures; sleep 0.9; echo expected 4, found 5; exit 1";
          };
        };
      };
    };
  };
}
"""
BUILD = """system: name: token: script:
derivation {
  inherit name system token;
  builder = "/bin/sh";
  args = [ "-c" "PATH=PLACES; ${script}; echo ${name} > $out" ];
}
"""


def main() -> None:
    """Make the picture."""
    with TemporaryDirectory(prefix="pikaci-picture-") as made:
        home = Path(made)
        project = home / "parser"
        state_home = home / "~" / ".local" / "state"
        shutil.copytree(ROOT / "nix" / "lib", project / "lib")
        token = str(time.time_ns())
        (project / "flake.nix").write_text(FLAKE.replace("TOKEN", token))
        (project / "build.nix").write_text(BUILD.replace("PLACES", os.environ["PATH"]))
        subprocess.run(["git", "init", "--quiet", str(project)], check=True)
        # A relative root is shown as the path that a user has.
        os.chdir(home)
        state = StateLayout((state_home / "pikaci" / slug(str(project))).relative_to(home))
        with patch("pikaci.render.words.state_option", return_value=""):
            svg = picture(project, state, state_home)
    (ROOT / "docs" / "run.svg").write_text(svg)


def picture(project: Path, state: StateLayout, state_home: Path) -> str:
    """Run the target, and draw its events as they come."""
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False
    )
    view = Terminal(state, console)
    console.print(Text.assemble(("$ ", "green"), " ".join(COMMAND)))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PIKACI_")}
    with subprocess.Popen(
        [sys.executable, "-m", *COMMAND, "--output", "jsonl"],
        cwd=project,
        env={**environment, "XDG_STATE_HOME": str(state_home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as running:
        for line in running.stdout or ():
            view.emit(parse_event(json.loads(line)))
    return console.export_svg(
        title="pikaci",
        theme=SVG_EXPORT_THEME,
        code_format=FONT_FACES.sub("", CONSOLE_SVG_FORMAT),
        unique_id="run",
    )


if __name__ == "__main__":
    main()
