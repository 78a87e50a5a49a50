# The settings of jobs in macOS VMs: the VM to clone, and the directories of the host to share.
let
  inherit (builtins)
    attrNames
    concatStringsSep
    elem
    elemAt
    filter
    genList
    groupBy
    head
    length
    match
    toJSON
    toString
    ;
  inherit (import ./fault.nix) fault meant;
  types = import ./types.nix;
  variable = import ./variable.nix "PIKACI_SHARE";

  # pikaci's own shares, and names that Tart would read as the scheme of an address.
  taken = [
    "artifacts"
    "http"
    "https"
    "pikaci"
    "snapshot"
    "store"
    "toolchain"
  ];

  base = types.shaped "the name of a VM (no \"-\" first, no control characters)" "[^-[:cntrl:]][^[:cntrl:]]*";

  # Tart puts ":" between the parts of an argument, and a VM's list of mounts has tabs and lines.
  directory =
    let
      rest = "[^/:[:cntrl:]]";
      first = "[^./:[:cntrl:]]";
      part = "/(${first}|[.]${first}|[.][.]${rest})${rest}*";
    in
    types.shaped "an absolute path without \"..\", \"//\", \":\", control characters or a slash at its end" "(${part})+";

  share = types.record {
    name.type = types.id // {
      ok = value: types.id.ok value && !(elem value taken);
      check =
        path: value:
        if elem (types.id.check path value) taken then
          fault path "a name other than ${concatStringsSep ", " taken}" (toJSON value)
        else
          value;
    };
    path.type = directory;
    readOnly = {
      type = types.bool;
      default = true;
    };
  };

  knobs = types.record {
    base.type = base;
    mountHostToolchain = {
      type = types.bool;
      default = false;
    };
    xcodePath = {
      type = types.nullOr directory;
      default = null;
    };
    shares = {
      type = types.listOf share;
      default = [ ];
    };
  };

  # Each of these is true, or throws.

  areApart =
    path: names:
    let
      byVariable = groupBy (index: variable (elemAt names index)) (genList (index: index) (length names));
      clashes = filter (name: length byVariable.${name} > 1) (attrNames byVariable);
      clash = byVariable.${head clashes};
      earlier = elemAt names (elemAt clash 0);
      later = elemAt names (elemAt clash 1);
      at = "${path}.shares[${toString (elemAt clash 1)}].name";
    in
    clashes == [ ]
    || (
      if earlier == later then
        fault at "a name that no other share has" "\"${later}\" more than once"
      else
        fault at "a name with a variable of its own" "${head clashes}, which \"${earlier}\" has too"
    );

  # The directory of shares has nothing but shares.
  isShared =
    path: tart: names:
    let
      below = if tart.xcodePath == null then null else match "/Volumes/My Shared Files/([^/]+)(/.*)?" tart.xcodePath;
      all = names ++ (if tart.mountHostToolchain then [ "toolchain" ] else [ ]);
    in
    below == null
    || elem (head below) all
    || fault "${path}.xcodePath" "the name of a share after /Volumes/My Shared Files/" (meant all (head below));
in
{
  name = "tart";
  type = {
    inherit (knobs) expected;
    check =
      path: value:
      let
        tart = knobs.check path value;
        names = map (share: share.name) tart.shares;
      in
      assert areApart path names;
      assert isShared path tart names;
      tart;
  };
  config = tart: {
    inherit (tart) base;
    mount_host_toolchain = tart.mountHostToolchain;
    xcode_path = tart.xcodePath;
    shares = map (share: {
      inherit (share) name path;
      read_only = share.readOnly;
    }) tart.shares;
  };
}
