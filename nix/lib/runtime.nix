# How a job is isolated: its runtime, and the runtime's settings under its name.
let
  inherit (builtins)
    attrNames
    elemAt
    filter
    listToAttrs
    mapAttrs
    seq
    ;
  inherit (import ./fault.nix) fault meant wrong;
  types = import ./types.nix;

  knobs = {
    host_process = {
      name = "hostProcess";
      type = types.record { };
      config = _: { };
    };
    incus = {
      name = "incus";
      type = types.record {
        role.type = types.reference;
        network = {
          type = types.nullOr types.interface;
          default = null;
        };
      };
      config = incus: { inherit (incus) role network; };
    };
    tart = import ./tart.nix;
  };

  # For each runtime, the keys of the other runtimes' settings.
  foreign = mapAttrs (own: _: map (other: knobs.${other}.name) (filter (other: other != own) (attrNames knobs))) knobs;
in
{
  fields = {
    runtime = {
      type = types.oneOf (attrNames knobs);
      default = "host_process";
    };
  }
  // listToAttrs (
    map (runtime: {
      inherit (knobs.${runtime}) name;
      value = {
        type = types.anything;
        default = null;
      };
    }) (attrNames knobs)
  );

  # The job with its runtime's settings as `runtimeConfig`, as in a plan; images are the catalog's.
  check =
    path: images: job:
    let
      own = knobs.${job.runtime};
      others = filter (other: job.${other} != null) foreign.${job.runtime};
      other = elemAt others 0;
      checked = own.type.check "${path}.${own.name}" (if job.${own.name} == null then { } else job.${own.name});
    in
    if others != [ ] then
      wrong "${path}.${other}" "no ${other} knobs where runtime is \"${job.runtime}\"" job.${other}
    else if job.runtime == "incus" && !(images ? ${checked.role}) then
      fault "${path}.incus.role" "a role of images" (meant (attrNames images) checked.role)
    else
      seq checked (job // { runtimeConfig = own.config checked; });
}
