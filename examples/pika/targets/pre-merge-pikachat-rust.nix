# The command line chat and its daemon.
{ staged }:
staged {
  title = "check-pikachat";
  description = "Command line chat: packages, then a smoke test of all together";
  trigger = "branch";
  jobs = {
    pikachat-cli = { };
    pikachat-sidecar = { };
    pikachat-desktop = { };
    pikachat-smoke = {
      description = "Two clients and a relay on one machine";
      needs = [
        "pikachat-cli"
        "pikachat-sidecar"
      ];
      retries.test = 1;
    };
  };
}
