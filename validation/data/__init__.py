"""Two-class data sets for the experiments: digits, CIFAR-10, or any folder or ZIP archive of images.

The order of work is the order of the modules: `sources` knows what there is, `selection` draws the rows,
`images` decodes only those, `preprocessing` turns levels into inputs, `dataset` puts it together.
"""

from validation.data.dataset import Dataset, load_dataset
from validation.data.preprocessing import check_finite
from validation.errors import DataError

__all__ = ["DataError", "Dataset", "check_finite", "load_dataset"]
