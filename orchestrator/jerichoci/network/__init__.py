"""What a job may reach of the network, where that is neither all nor nothing."""
