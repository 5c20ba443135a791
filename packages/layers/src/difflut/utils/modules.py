"""Modules that users combine with layers."""

from difflut.layers.group_sum import GroupSum as GroupSum
