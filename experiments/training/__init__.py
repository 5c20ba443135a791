"""Training a network, and measuring it again."""
