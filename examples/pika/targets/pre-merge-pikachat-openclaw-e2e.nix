# The chat as a channel of an agent gateway, end to end.
{ staged }:
staged {
  title = "check-pikachat-openclaw-e2e";
  description = "Gateway, daemon and relay, end to end";
  trigger = "branch";
  jobs.openclaw-gateway-e2e = {
    runAsRoot = true;
    resources = {
      cpus = 4;
      memoryMib = 8192;
    };
    timeoutSecs = 3600;
    retries.test = 1;
  };
}
