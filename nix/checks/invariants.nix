# The rules of the architecture hold in `src`.
{ pkgs, src }:
pkgs.runCommand "pikaci-invariants" { nativeBuildInputs = [ pkgs.python3 ]; } ''
  python3 -B ${src}/invariants/check.py
  echo > $out
''
