# The TypeScript side of the chat: its packages come from the lock file, which a command on the host fetches.
{ staged }:
staged {
  title = "check-pikachat-typescript";
  description = "TypeScript client, against the chat's daemon";
  trigger = "branch";
  prepare.node-modules = {
    description = "Packages of package-lock.json";
    # Where the job runs: what a host command leaves stays on its host.
    placement = "remote_ssh";
    labels = [ "linux-builder" ];
    hostCommand = {
      command = "cd pikachat-openclaw && npm ci --ignore-scripts";
      outputs = [ "pikachat-openclaw/node_modules" ];
    };
    guestPath = "/staged/node/modules";
    timeoutSecs = 900;
  };
  jobs.pikachat-typescript = {
    needs = [ "node-modules" ];
    env.CI = "1";
    command = ''
      cp -r "$PIKACI_INPUT_NODE_MODULES/pikachat-openclaw/node_modules" pikachat-openclaw/
      cd pikachat-openclaw && npm test
    '';
  };
}
