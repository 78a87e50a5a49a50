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
    tail
    unsafeDiscardStringContext
    ;
  inherit (import ./fault.nix) fault show;
  derivations = import ./derivations.nix;
  types = import ./types.nix;

  # An image made of Debian's packages, by the machine where pikaci runs.
  debian = types.record {
    packages = {
      type = types.listOf (types.shaped "the name of a Debian package" "[a-z0-9][a-z0-9.+-]+");
      default = [ ];
    };
    suite = {
      type = types.shaped "a suite of Debian, such as \"bookworm\"" "[a-z][a-z-]*";
      default = "bookworm";
    };
  };

  fields = types.record {
    alias = {
      type = types.nullOr types.alias;
      default = null;
    };
    instanceType = {
      type = types.nullOr (
        types.oneOf [
          "virtual-machine"
          "container"
        ]
      );
      default = null;
    };
    debian = {
      type = types.nullOr debian;
      default = null;
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
    else
      derivations.checked path system made;
in
{
  check =
    path: role: entry:
    let
      checked = fields.check path entry;
      isDebian = checked.debian != null;
    in
    if !isDebian && checked.alias == null then
      fault "${path}.alias" types.alias.expected "nothing"
    else if isDebian && entry ? package then
      fault path "either package or debian" "both"
    else if isDebian && checked.instanceType == "virtual-machine" then
      fault "${path}.instanceType" "\"container\" beside debian" "\"virtual-machine\""
    else
      checked
      // {
        alias = if checked.alias == null then "pikaci/${role}" else checked.alias;
        instanceType =
          if checked.instanceType != null then
            checked.instanceType
          else if isDebian then
            "container"
          else
            "virtual-machine";
        isPackaged = entry ? package || isDebian;
      };

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
    in
    if image.debian != null then
      { inherit (image) debian; }
    else if !image.isPackaged then
      fault path "a derivation that this image is built by" "nothing"
    else if !(isGuestSystem system) then
      fault path "a Linux system to build this image for" "\"${system}\""
    else
      {
        drv_path = unsafeDiscardStringContext package.drvPath;
        out_path = derivations.outPath path package package;
      };
}
