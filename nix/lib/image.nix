# Guest images by role: their names in a plan, and their derivations.
let
  inherit (builtins)
    attrNames
    concatMap
    elemAt
    filter
    groupBy
    isAttrs
    isFunction
    match
    storeDir
    stringLength
    substring
    tail
    unsafeDiscardStringContext
    ;
  inherit (import ./fault.nix) fault show;
  types = import ./types.nix;

  fields = types.record {
    alias.type = types.alias;
    instanceType = {
      type = types.oneOf [
        "virtual-machine"
        "container"
      ];
      default = "virtual-machine";
    };
    # Evaluated when the image is built.
    package = {
      type = types.anything;
      default = null;
    };
  };

  isGuestSystem = system: match ".*-linux" system != null;

  packageFor =
    path: system: package:
    let
      made = if isFunction package then package system else package;
    in
    if !(isAttrs made && made.type or null == "derivation") then
      fault path "a derivation for ${system}, or a function from a system to one" (
        if isFunction package then "a function that gives ${show made}" else show made
      )
    else if made.system or system != system && made.system != "builtin" then
      fault path "a derivation for ${system}" "${made.name or "one"}, which is for ${made.system}"
    else
      made;
in
{
  check = path: entry: fields.check path entry // { isPackaged = entry ? package; };

  # Its name in a plan and a catalog.
  named = image: {
    inherit (image) alias;
    instance_type = image.instanceType;
  };

  isBuildable = system: image: image.isPackaged && isGuestSystem system;

  # True if roles that share an alias have one image, as far as is known without building them. Otherwise throws.
  areAliasesRight =
    images:
    let
      byAlias = groupBy (role: images.${role}.alias) (attrNames images);
      wrongOnes = concatMap (
        alias:
        let
          roles = byAlias.${alias};
          first = elemAt roles 0;
          others = filter (role: images.${role}.instance_type != images.${first}.instance_type) (tail roles);
        in
        map (role: { inherit alias first role; }) others
      ) (attrNames byAlias);
      it = elemAt wrongOnes 0;
    in
    wrongOnes == [ ]
    ||
      fault "images.${it.role}.instanceType" "\"${images.${it.first}.instance_type}\", which the alias \"${it.alias}\" is for images.${it.first}" "\"${images.${it.role}.instance_type}\"";

  # Evaluates the image's derivation, and no other.
  built =
    system: role: image:
    let
      path = "images.${role}.package";
      package = packageFor path system image.package;
      outPath = unsafeDiscardStringContext package.outPath;
    in
    if !image.isPackaged then
      fault path "a derivation that this image is built by" "nothing"
    else if !(isGuestSystem system) then
      fault path "a Linux system to build this image for" "\"${system}\""
    else if substring 0 (stringLength storeDir + 1) outPath != "${storeDir}/" then
      fault path "a derivation whose output path is known before it is built" "${package.name}, whose isn't (it is content-addressed or impure)"
    else
      {
        drv_path = unsafeDiscardStringContext package.drvPath;
        out_path = outPath;
      };
}
