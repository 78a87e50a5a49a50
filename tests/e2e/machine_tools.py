"""A fake nixpkgs whose compilers and interpreters are those of this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from jerichoci.machine.system import own_system

if TYPE_CHECKING:
    from pathlib import Path

# A program that this machine lacks fails its package alone.
FLAKE = """
{
  outputs = _: {
    legacyPackages.@system@ = rec {
      buildEnv = { name, paths }: make name ''
        for path in $paths; do ln -s $path/bin/* $out/bin/; done
      '' { inherit paths; };
      python3.withPackages = _: programs [ "python" ];
      nodejs = programs [ "node" "npm" ];
      go = programs [ "go" ];
      cargo = programs [ "cargo" ];
      rustc = programs [ "rustc" "rustdoc" ];
      gnumake = programs [ "make" ];
      cmake = programs [ "cmake" "ctest" ];
      stdenv.cc = programs [ "cc" ];

      programs = names: make (builtins.head names) (builtins.concatStringsSep "\\n" (map (name: ''
        printf '#!/bin/sh\\nexec %s "$@"\\n' ${paths.${name}} > $out/bin/${name}
        chmod +x $out/bin/${name}
      '') names)) { };
      paths = builtins.fromJSON (builtins.readFile ./paths.json);
      make = name: script: attributes: derivation ({
        inherit name;
        system = "@system@";
        builder = "/bin/sh";
        args = [ "-ec" "PATH=/usr/bin:/bin; mkdir -p $out/bin; ${script}" ];
      } // attributes);
    };
  };
}
"""
_PROGRAMS = ("node", "npm", "go", "make", "cmake", "ctest", "cc")


def find_programs() -> dict[str, str]:
    """The programs that this machine has, by name."""
    found = {name: path for name in _PROGRAMS if (path := shutil.which(name))}
    if rustc := shutil.which("rustc"):
        # Not rustup's, which asks the home for a toolchain.
        argv = [rustc, "--print", "sysroot"]
        root = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
        found |= {name: f"{root}/bin/{name}" for name in ("cargo", "rustc", "rustdoc")}
    return {"python": sys.executable, **found}


def write_nixpkgs(directory: Path) -> None:
    """Write the flake into a directory."""
    (directory / "flake.nix").write_text(FLAKE.replace("@system@", own_system()))
    (directory / "paths.json").write_text(json.dumps(find_programs()))
