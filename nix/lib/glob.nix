# A relative path glob whose brackets, braces and escapes are complete. jerichoci/machine/glob.py defines what it matches.
let
  inherit (builtins)
    foldl'
    head
    isList
    isString
    match
    replaceStrings
    split
    stringLength
    substring
    ;
  inherit (import ./fault.nix) fault show wrong;

  special = [ "[" "{" "}" "\\" ];
  none = [ "" "" "" "" ];

  start = {
    state = "text";
    depth = 0;
    stray = false;
  };

  # Reads special characters and the texts between them. A leading "]" in a class is a member of it, and a backslash in a
  # class is a backslash.
  step =
    scan: piece:
    let
      char = if isList piece then head piece else piece;
    in
    if piece == "" then
      scan
    else
      {
        text =
          {
            "[" = scan // { state = "class-start"; };
            "\\" = scan // { state = "escape"; };
            "{" = scan // { depth = scan.depth + 1; };
            "}" = if scan.depth == 0 then scan // { stray = true; } else scan // { depth = scan.depth - 1; };
          }
          .${char} or scan;
        escape = scan // { state = "text"; };
        class-start = scan // { state = if char == "!" || char == "^" then "class-first" else "class"; };
        class-first = scan // { state = "class"; };
        class = if char == "]" then scan // { state = "text"; } else scan;
      }
      .${scan.state};

  # The usual case: without brackets, escapes, braces within braces and "..". Nix's regular expressions recurse, so
  # a long text takes the slow way.
  isSimple =
    glob:
    stringLength glob < 256 && replaceStrings [ ".." ] [ "" ] glob == glob && match "[.]?([^][{}\\/.]|${group})([^][{}\\]|${group})*" glob != null;
  group = "[{][^][{}\\]*}";

  problem =
    glob:
    let
      end = foldl' step start (split "([][{}!^\\\\])" glob);
    in
    if glob == "" then
      "an empty glob"
    else if substring 0 1 glob == "/" then
      "a leading \"/\""
    else if substring 0 2 glob == "./" || substring 0 3 glob == "../" then
      "a leading \"./\" or \"../\""
    else if match "(.*/)?[.][.](/.*)?" glob != null then
      "a \"..\""
    else if replaceStrings special none glob == glob then
      null
    else if end.stray then
      "a \"}\" without its \"{\""
    else if end.state == "escape" then
      "a \"\\\" that escapes nothing"
    else if end.state != "text" then
      "a \"[\" without its \"]\""
    else if end.depth > 0 then
      "a \"{\" without its \"}\""
    else
      null;
in
rec {
  expected = "a glob of paths relative to the source";
  ok = value: isString value && (isSimple value || problem value == null);
  check =
    path: value:
    if ok value then
      value
    else if isString value then
      fault path expected "${problem value} in ${show value}"
    else
      wrong path expected value;
}
