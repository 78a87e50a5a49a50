# The fixture that other tests run their relays and servers with.
{ staged }:
staged {
  title = "check-fixture";
  description = "Test fixture: its own tests and a relay it starts";
  trigger = "branch";
  jobs = {
    pika-fixture = { };
    relay-smoke.needs = [ "pika-fixture" ];
  };
}
