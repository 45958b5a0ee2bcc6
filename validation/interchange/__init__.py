"""Weights and results from and to the files of other software.

`entries` is what every weight file becomes, `torch_pickle`, `torch_zip` and `plain` read and write the kinds of file,
`layout` turns entries into the weights of a network, `weights` puts it together; `results` writes reports as arrays.
"""

from .errors import WeightsError
from .weights import file_digest, load_weights, save_weights

__all__ = ["WeightsError", "file_digest", "load_weights", "save_weights"]
