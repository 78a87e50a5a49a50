# variable prefix id: the environment variable for what has this id.
let
  inherit (builtins)
    genList
    replaceStrings
    stringLength
    substring
    ;
  chars = text: genList (index: substring index 1 text) (stringLength text);
  upper = replaceStrings (chars "abcdefghijklmnopqrstuvwxyz-") (chars "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");
in
prefix: id:
"${prefix}_${upper id}"
