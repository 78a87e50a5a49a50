# The parts of nixpkgs' lib that this repository uses, with its meanings.
let
  inherit (builtins)
    any
    concatLists
    concatStringsSep
    filter
    fromTOML
    isList
    readFile
    replaceStrings
    stringLength
    substring
    ;
  hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
  # Whether one of two paths lies in the other.
  related = one: other: hasPrefix "${one}/" "${other}/" || hasPrefix "${other}/" "${one}/";
  chars = text: builtins.genList (at: substring at 1 text) (stringLength text);
  flatten = it: if isList it then concatLists (map flatten it) else [ it ];
in
{
  fakeHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
  platforms = {
    linux = [
      "x86_64-linux"
      "aarch64-linux"
    ];
    darwin = [ "aarch64-darwin" ];
  };
  optionalAttrs = condition: it: if condition then it else { };
  importTOML = path: fromTOML (readFile path);
  optional = condition: it: if condition then [ it ] else [ ];
  optionals = condition: list: if condition then list else [ ];
  optionalString = condition: text: if condition then text else "";
  concatMapStrings = function: list: concatStringsSep "" (map function list);
  concatMapStringsSep =
    between: function: list:
    concatStringsSep between (map function list);
  inherit replaceStrings;
  toUpper = replaceStrings (chars "abcdefghijklmnopqrstuvwxyz") (chars "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
  makeBinPath = packages: concatStringsSep ":" (map (package: "${package}/bin") (filter (it: it != null) packages));
  getExe = package: "${package}/bin/${package.meta.mainProgram or package.pname or package.name}";

  # A file set is a list of paths here.
  fileset = {
    unions = flatten;
    toSource =
      { root, fileset }:
      {
        inherit root;
        outPath = builtins.path {
          name = "source";
          path = root;
          filter = path: _: any (it: related (toString it) path) (flatten fileset);
        };
      };
  };

  systems.flakeExposed = [
    "x86_64-linux"
    "aarch64-linux"
    "aarch64-darwin"
  ];
}
