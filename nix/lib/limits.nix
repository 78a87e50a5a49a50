# What ends a job beside timeoutSecs: silenceSecs.
let
  types = import ./types.nix;
in
{
  fields.silenceSecs = {
    type = types.nullOr types.positive;
    default = null;
  };

  plan =
    { job, ... }: if job.silenceSecs == null then { } else { execute.silence_secs = job.silenceSecs; };
}
