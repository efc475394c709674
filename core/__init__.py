"""The core: watches Kubernetes, hands out addresses, keeps OVN as desired. No feature lives here."""
