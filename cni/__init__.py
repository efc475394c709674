"""The CNI plugin ``kube-ovn`` of the container runtime: it hands each call to the agent of its node."""
