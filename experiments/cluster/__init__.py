"""Ray: joining a cluster, and carrying files between its machines."""
