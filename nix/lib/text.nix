# Texts that reach a process as one argument or one environment entry.
let
  inherit (builtins) stringLength toString;
  inherit (import ./fault.nix) fault;
  scan = import ./context.nix;

  # The longest argument of Linux, with its final byte (MAX_ARG_STRLEN).
  limit = 128 * 1024;

  sized =
    path: length: text:
    if length < limit then text else fault path "fewer than ${toString limit} bytes" "${toString length}";
in
{
  argument =
    path: text: known: allowed:
    scan path (sized path (stringLength text) text) known allowed;

  entry =
    path: name: text: known: allowed:
    scan path (sized path (stringLength name + 1 + stringLength text) text) known allowed;
}
