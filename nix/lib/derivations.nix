# The derivations of a plan: for one system, with an output path that is known before anything is built.
let
  inherit (builtins)
    isAttrs
    storeDir
    stringLength
    substring
    unsafeDiscardStringContext
    ;
  inherit (import ./fault.nix) fault wrong;
in
{
  checked =
    path: system: drv:
    if !(isAttrs drv && drv.type or null == "derivation") then
      wrong path "a derivation" drv
    else if drv.system or system != system && drv.system != "builtin" then
      fault path "a derivation for ${system}" "${drv.name or "one"}, which is for ${drv.system}"
    else
      drv;

  # The path of an output of drv, as a text without context.
  outPath =
    path: drv: output:
    let
      known = unsafeDiscardStringContext output.outPath;
    in
    if substring 0 (stringLength storeDir + 1) known != "${storeDir}/" then
      fault path "a derivation whose output path is known before it is built" "${drv.name}, whose isn't (it is content-addressed or impure)"
    else
      known;
}
