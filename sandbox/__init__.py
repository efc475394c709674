"""A real cluster on one machine: nodes are containers of runc in network namespaces; Kubernetes and OVN are the real ones."""
