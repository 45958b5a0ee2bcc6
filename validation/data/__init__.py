"""Two-class data sets for the experiments: digits, CIFAR-10, any folder or ZIP archive of images, or arrays.

The order of work is the order of the modules: `arrays` takes the user's own, `sources` knows what there is, `selection`
draws the rows, `images` decodes only those, `preprocessing` turns levels into inputs, `dataset` puts it together.
"""

from validation.data.arrays import Arrays, given_arrays
from validation.data.dataset import Dataset, load_dataset
from validation.data.portions import KINDS, Examples, Portions, load_portions
from validation.data.preprocessing import check_finite
from validation.data.sources import data_name
from validation.errors import DataError

__all__ = [
    "KINDS", "Arrays", "DataError", "Dataset", "Examples", "Portions", "check_finite", "data_name", "given_arrays",
    "load_dataset", "load_portions",
]  # fmt: skip
