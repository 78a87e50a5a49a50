# path system packages: the prepare nodes of packages, whose programs come first on a PATH.
let
  inherit (builtins)
    elemAt
    genList
    isAttrs
    isList
    length
    storeDir
    stringLength
    substring
    unsafeDiscardStringContext
    ;
  inherit (import ./fault.nix) fault wrong;
  node = import ./node.nix;

  # The output that has a package's programs.
  programs = drv: if drv.outputSpecified or false then drv else drv.bin or drv.out or drv;

  package =
    path: system: value:
    let
      drv = programs value;
      outPath = unsafeDiscardStringContext drv.outPath;
    in
    if !(isAttrs value && value.type or null == "derivation") then
      wrong path "a derivation" value
    else if drv.system or system != system && drv.system != "builtin" then
      fault path "a derivation for ${system}" "${drv.name or "one"}, which is for ${drv.system}"
    else if substring 0 (stringLength storeDir + 1) outPath != "${storeDir}/" then
      fault path "a derivation whose output path is known before it is built" "${drv.name}, whose isn't (it is content-addressed or impure)"
    else
      node.derivation (unsafeDiscardStringContext drv.drvPath) (drv.outputName or "out") outPath;
in
path: system: packages:
if !(isList packages) then
  wrong path "a list of derivations" packages
else
  genList (index: package "${path}[${toString index}]" system (elemAt packages index)) (length packages)
