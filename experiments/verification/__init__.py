"""Every node type, wiring and encoder, compared in every back end."""
