# The values of an attribute set, in natural order of their names: j1, j2, j10.
let
  inherit (builtins)
    attrNames
    concatStringsSep
    head
    isList
    sort
    split
    stringLength
    substring
    ;
  zeros = "0000000000000000000000000000000000000000000000000000000000000000";
  padded = number: substring (stringLength number) 64 zeros + number;
  spelt = part: if isList part then padded (head part) else part;
  named = id: {
    inherit id;
    key = concatStringsSep "" (map spelt (split "([0-9]+)" id));
  };
in
set: map (named: set.${named.id}) (sort (a: b: a.key < b.key) (map named (attrNames set)))
