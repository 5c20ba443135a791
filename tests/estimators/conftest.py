import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_classification


@pytest.fixture
def table():
    return make_classification(240, 6, n_informative=4, n_redundant=0, class_sep=2.0, random_state=1)


@pytest.fixture
def frame():
    random = np.random.default_rng(2)
    size = random.normal(size=300)
    frame = pd.DataFrame(
        {
            "size": np.where(random.random(300) < 0.2, np.nan, size),
            "colour": random.choice(["red", "green", "blue"], 300),
            "shape": pd.Categorical(random.choice(["round", "square"], 300)),
            "count": pd.array(random.integers(0, 5, 300), dtype="Int64"),
            "new": random.random(300) < 0.5,
        }
    )
    frame.loc[::11, "colour"] = None
    frame.loc[::7, "count"] = pd.NA
    return frame
