# Programs that run beside a job: services.
let
  inherit (builtins)
    attrNames
    concatMap
    map
    ;
  types = import ./types.nix;
  packages = import ./packages.nix;
  text = import ./text.nix;

  fields = types.record {
    command = {
      type = types.text;
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
in
{
  fields.services = {
    type = types.namedBy "an attribute set of services" (path: _: entry: fields.check path entry);
    default = { };
  };

  plan =
    {
      path,
      job,
      known,
      allowed,
      system,
      ...
    }:
    let
      one =
        name:
        let
          service = job.services.${name};
          here = "${path}.services.${name}";
          command = text.argument "${here}.command" service.command known allowed;
          ready = text.argument "${here}.ready" (if service.ready == null then "" else service.ready) known allowed;
          tools = if service.packages == [ ] then [ ] else packages "${here}.packages" system service.packages;
        in
        {
          nodes = command.nodes ++ ready.nodes ++ tools;
          service = {
            inherit name;
            command = command.text;
            ready = if service.ready == null then null else ready.text;
            ready_secs = service.readySecs;
            path = map (node: node.id) tools;
          };
        };
      made = map one (attrNames job.services);
    in
    if job.services == { } then
      { }
    else
      {
        nodes = concatMap (entry: entry.nodes) made;
        execute.services = map (entry: entry.service) made;
      };
}
