"""Sweeps: many trainings that differ in what a Gin file says, on Ray Tune."""
