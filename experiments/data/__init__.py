"""Data sets by name, split into training, validation and test rows.

    from experiments.data import load_dataset

    data = load_dataset("mnist", validation_fraction=0.1, seed=0)
    data.x_train  # uint8 (54000, 28, 28)

A file in the folder that the environment variable `DIFFLUT_DATA` names comes first: `NAME.npz` with the arrays x_train,
y_train, x_test, y_test and, if wanted, class_names and feature_names (text); or, for mnist and fashion_mnist, the four
IDX files as distributed, zipped or not, in `NAME/`. The pickled batches of CIFAR-10 are not read, since a pickle runs
code: `cifar10.npz` is the way. Without a file, scikit-learn brings the set: digits from its own files, any other from
OpenML, once; the parsed set stays in its cache folder.

A data set of your own needs no code if it lies in DIFFLUT_DATA as `NAME.npz` or on OpenML (`openml:ID`, `openml:NAME`).
To give one a name, write one function that returns its `Rows`, in `sources.py` or in a module that a Gin file imports:

    @register_dataset("two_moons")
    def two_moons(cache_dir: str | None) -> Rows: ...

A set that is larger than the memory lies in the folder `NAME/` as x_train.npy, y_train.npy, x_test.npy and y_test.npy,
inputs as uint8. They stay on the disk: every epoch reads its rows again, in random order, which is as quick as the disk
is; a checkpoint needs the digest of all, so they are read once more at the start. Each process maps the files, so they
lie at the same path on all machines of a cluster. `dataset.validation_fraction` must be
0, and an augmentation still needs memory for all rows.

Test rows: the published split where there is one (the MNIST family, CIFAR-10); otherwise 20 % drawn with the fixed seed
42, stratified by class but for jsc_openml, whose usual split is not. They depend on no argument. Validation rows are
drawn from the training rows by `seed`, without stratification; the two are disjoint.

Features: images keep their pixels, uint8, with channels last; everything else is a float32 table. Of OpenML's
categorical features those of two values become one column of 0 and 1, the others one such column a value (one-hot).
"""

from experiments.data.loading import Dataset as Dataset
from experiments.data.loading import dataset as dataset
from experiments.data.loading import dataset_names as dataset_names
from experiments.data.loading import kept_rows as kept_rows
from experiments.data.loading import load_dataset as load_dataset
from experiments.data.loading import rows_kept as rows_kept
from experiments.data.rows import BadDatasetError as BadDatasetError
from experiments.data.rows import DatasetNotFoundError as DatasetNotFoundError
from experiments.data.rows import Rows as Rows
