"""Convolutional networks as hardware that takes one pixel a clock."""
