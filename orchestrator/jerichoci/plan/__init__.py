"""What runs are made from: plans, hosts, payload manifests."""
