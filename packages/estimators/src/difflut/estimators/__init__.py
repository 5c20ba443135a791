"""LUT networks as scikit-learn estimators.

from difflut.estimators import LUTClassifier

classifier = LUTClassifier().fit(X, y)
classifier.predict(X), classifier.cost(), classifier.export("folder")
"""

from difflut.estimators.classifier import LUTClassifier as LUTClassifier
from difflut.estimators.recipe import Recipe as Recipe
from difflut.estimators.recipe import default_recipe as default_recipe
