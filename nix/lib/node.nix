# Nix prepare nodes. Equal outputs of equal derivations have equal ids.
let
  inherit (builtins)
    baseNameOf
    head
    match
    replaceStrings
    stringLength
    substring
    ;

  upper = [ "A" "B" "C" "D" "E" "F" "G" "H" "I" "J" "K" "L" "M" "N" "O" "P" "Q" "R" "S" "T" "U" "V" "W" "X" "Y" "Z" ];
  lower = [ "a" "b" "c" "d" "e" "f" "g" "h" "i" "j" "k" "l" "m" "n" "o" "p" "q" "r" "s" "t" "u" "v" "w" "x" "y" "z" ];
  other = [ "+" "." "?" "=" ];
  dashes = [ "-" "-" "-" "-" ];

  # The name in a store path: the part after the 32 characters of the hash and a dash.
  nameOf = path: substring 33 (-1) (baseNameOf path);

  sanitise = name: head (match "[_-]*(.*)" (replaceStrings (upper ++ other) (lower ++ dashes) name));

  idOf =
    name: path: output:
    let
      hash = substring 0 8 (baseNameOf path);
      suffix = if output == "out" then hash else "${hash}-${substring 0 20 (sanitise output)}";
      room = 63 - stringLength suffix;
      words = substring 0 room (sanitise name);
    in
    if words == "" then "path-${suffix}" else "${words}-${suffix}";

  build = id: description: prepare: {
    kind = "prepare";
    inherit id description;
    depends_on = [ ];
    placement = "local";
    placement_config = { };
    prepare = {
      type = "nix_build";
      output_name = "out";
      residency = "local";
      timeout_secs = 3600;
    }
    // prepare;
  };
in
rec {
  inherit nameOf;

  derivationName =
    drvPath:
    let
      file = nameOf drvPath;
    in
    substring 0 (stringLength file - 4) file;

  # The output's part of its store path, as Nix names it.
  outputName = drvPath: output: if output == "out" then derivationName drvPath else "${derivationName drvPath}-${output}";

  derivation =
    drvPath: output: outPath:
    build (idOf (derivationName drvPath) drvPath output) (outputName drvPath output) {
      installable = "${drvPath}^${output}";
      drv_path = drvPath;
      out_path = outPath;
      output_name = output;
    };

  storePath =
    path:
    build (idOf (nameOf path) path "out") (nameOf path) {
      installable = path;
      drv_path = null;
      out_path = path;
    };
}
