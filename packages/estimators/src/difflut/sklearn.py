"""The estimators, under the name of the library whose interface they have."""

from difflut.estimators import LUTClassifier as LUTClassifier
