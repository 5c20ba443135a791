"""The time of a training step, its floor, and the time of other libraries."""
