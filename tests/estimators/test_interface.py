from sklearn.utils.estimator_checks import parametrize_with_checks

from difflut.sklearn import LUTClassifier


@parametrize_with_checks([LUTClassifier(votes=20, candidates=8, epochs=16, num_bits=8, tau=6.0, explores=True)])
def test_scikit_learn_finds_nothing_to_complain_of(estimator, check):
    check(estimator)
