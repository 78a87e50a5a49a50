# The core library: everything the apps share.
{ staged }:
staged {
  title = "check-pika-rust";
  description = "Core library: app flows and messaging";
  trigger = "branch";
  jobs = {
    pika-core-app-flows = {
      wrapper = "run-pika-core";
      arguments = [ "app_flows" ];
    };
    pika-core-messaging = {
      wrapper = "run-pika-core";
      arguments = [
        "messaging"
        "--test-threads=1"
      ];
      timeoutSecs = 3600;
    };
  };
}
