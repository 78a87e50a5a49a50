# path system packages: the prepare nodes of packages, whose programs come first on a PATH.
let
  inherit (builtins)
    elemAt
    genList
    isList
    length
    unsafeDiscardStringContext
    ;
  inherit (import ./fault.nix) wrong;
  derivations = import ./derivations.nix;
  node = import ./node.nix;

  # The output that has a package's programs.
  programs = package: if package.outputSpecified or false then package else package.bin or package.out or package;

  nodeOf =
    path: system: value:
    let
      package = programs (derivations.checked path system value);
    in
    node.derivation (unsafeDiscardStringContext package.drvPath) (package.outputName or "out") (derivations.outPath path package package);
in
path: system: packages:
if !(isList packages) then
  wrong path "a list of derivations" packages
else
  genList (index: nodeOf "${path}[${toString index}]" system (elemAt packages index)) (length packages)
