# Programs that run beside a job: services.
let
  inherit (builtins)
    attrNames
    concatMap
    elemAt
    groupBy
    isAttrs
    isFunction
    isPath
    length
    map
    ;
  inherit (import ./fault.nix) fault wrong;
  variable = import ./variable.nix "PIKACI_SERVICE";
  types = import ./types.nix;
  packages = import ./packages.nix;
  text = import ./text.nix;

  fields = types.record {
    command = {
      type = types.nullOr types.text;
      default = null;
      lazy = true;
    };
    nixos = {
      type = types.anything;
      default = null;
      lazy = true;
    };
    ready = {
      type = types.nullOr types.text;
      default = null;
      lazy = true;
    };
    readySecs = {
      type = types.positive;
      default = 60;
    };
    packages = {
      type = types.anything;
      default = [ ];
      lazy = true;
    };
  };

  check =
    path: name: entry:
    let
      checked = fields.check path entry;
    in
    if variable name == "PIKACI_SERVICE_DIR" then
      fault path "a name other than dir, whose variable is the directory of each service" "\"${name}\""
    else if entry ? command && entry ? nixos then
      fault path "either command or nixos" "both"
    else if !(entry ? command || entry ? nixos) then
      fault path "either command or nixos" "neither"
    else if entry ? nixos && entry ? packages then
      fault "${path}.packages" "this key only beside command" "it beside nixos"
    else
      checked;

  isImage = value: isAttrs value && value.type or null == "derivation";
  isModule = value: !(isImage value) && (isAttrs value || isFunction value || isPath value);

  # The prepare node of a guest's image: of a derivation that is one, or of NixOS modules.
  imageOf =
    path: name: system: nixosImage: value:
    let
      made = nixosImage system [
        value
        {
          networking.hostName = name;
          services.journald.console = "/dev/console";
        }
      ];
    in
    if isImage value then
      elemAt (packages path system [ value ]) 0
    else if !(isModule value) then
      wrong path "a NixOS module, or a derivation with metadata.tar.xz and rootfs.squashfs" value
    else if nixosImage == null then
      fault path "mkCatalog to be told `nixosImage`, which makes images of NixOS modules (the library of pikaci's own flake is told)" "no such function"
    else
      elemAt (packages path system [ made ]) 0;

  areApart =
    path: names:
    let
      clashes = builtins.filter (group: length group > 1) (builtins.attrValues (groupBy variable names));
      clash = elemAt clashes 0;
    in
    clashes == [ ]
    ||
      fault path "services whose variables differ" "\"${elemAt clash 0}\" and \"${elemAt clash 1}\", which are both ${variable (elemAt clash 0)}";
in
{
  fields.services = {
    type = types.namedBy "an attribute set of services" check;
    default = { };
  };

  plan =
    {
      path,
      job,
      known,
      allowed,
      nixosImage,
      system,
      ...
    }:
    let
      one =
        name:
        let
          service = job.services.${name};
          here = "${path}.services.${name}";
          isGuest = service.nixos != null;
          textOf =
            key:
            if service.${key} == null then
              {
                nodes = [ ];
                text = null;
              }
            else
              text.argument "${here}.${key}" service.${key} known allowed;
          command = textOf "command";
          ready = textOf "ready";
          tools = if service.packages == [ ] then [ ] else packages "${here}.packages" system service.packages;
          image = imageOf "${here}.nixos" name system nixosImage service.nixos;
        in
        if isGuest && job.runtime != "incus" then
          fault "${here}.nixos" "a job whose runtime is \"incus\": its guest shares a bridge with this one" "runtime \"${job.runtime}\""
        else if isGuest && (job.runtimeConfig.network or null != null || job.network != null) then
          fault "${here}.nixos" "a job without network or incus.network: the bridge of its services is the only one it has" "one"
        else
          {
            nodes = command.nodes ++ ready.nodes ++ tools ++ (if isGuest then [ image ] else [ ]);
            service = {
              inherit name;
              ready = if isModule service.nixos && ready.text == null then "systemctl is-active --quiet multi-user.target" else ready.text;
              ready_secs = service.readySecs;
            }
            // (
              if isGuest then
                { image = image.id; }
              else
                {
                  command = command.text;
                  path = map (node: node.id) tools;
                }
            );
          };
      made = map one (attrNames job.services);
    in
    if job.services == { } then
      { }
    else
      assert areApart "${path}.services" (attrNames job.services);
      {
        nodes = concatMap (entry: entry.nodes) made;
        execute.services = map (entry: entry.service) made;
      };
}
