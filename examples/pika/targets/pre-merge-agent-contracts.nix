# What agents and the control plane promise each other.
{ staged }:
staged {
  title = "check-agent-contracts";
  description = "Contracts between agents, server and control plane";
  trigger = "branch";
  jobs = {
    agent-control-plane.description = "Unit tests of the control plane";
    agent-microvm.description = "Agents in micro VMs";
    server-agent-api = {
      wrapper = "run-pika-server";
      arguments = [ "agent_api" ];
    };
    core-agent-auth = {
      wrapper = "run-pika-core";
      arguments = [ "agent_auth" ];
    };
  };
}
