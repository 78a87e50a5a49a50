# The files that jobs leave for people and for later jobs: artifacts, and what `needs` gives of other jobs.
let
  inherit (builtins) filter map;
  types = import ./types.nix;
  variable = import ./variable.nix "PIKACI_INPUT";
in
{
  fields.artifacts = {
    type = types.nullOr (
      types.record {
        include = {
          type = types.listOf (import ./glob.nix);
          default = [ ];
        };
        maxMib = {
          type = types.positive;
          default = 8192;
        };
        keepDays = {
          type = types.nullOr types.positive;
          default = null;
        };
      }
    );
    default = null;
  };

  plan =
    {
      job,
      prepares,
      ...
    }:
    let
      jobs = filter (need: !(prepares ? ${need})) job.needs;
    in
    {
      execute =
        (
          if job.artifacts == null then
            { }
          else
            {
              artifacts = {
                inherit (job.artifacts) include;
                max_mib = job.artifacts.maxMib;
                keep_days = job.artifacts.keepDays;
              };
            }
        )
        // (
          if jobs == [ ] then
            { }
          else
            {
              job_inputs = map (need: {
                job_id = need;
                env = variable need;
                guest_path = "/staged/${need}";
              }) jobs;
            }
        );
    };
}
