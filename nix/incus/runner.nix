# The guest runner with the Python of nixpkgs in its first line: no wrapper, nothing between the exec and the job.
{ python3, runCommandLocal }:
runCommandLocal "pikaci-incus-run"
  {
    meta = {
      description = "Runs one job in a guest";
      mainProgram = "pikaci-incus-run";
    };
  }
  ''
    mkdir -p $out/bin
    {
      echo '#!${python3.interpreter} -IS'
      tail -n +2 ${./pikaci-incus-run.py}
    } > $out/bin/pikaci-incus-run
    chmod +x $out/bin/pikaci-incus-run
  ''
