"""Weights and results from and to the files of other software.

`entries` is what every weight file becomes, `torch_pickle`, `torch_zip` and `plain` read and write the kinds of file,
`live` takes what is in memory, `steps`, `trace` and `torch_module` make a network of a live module of PyTorch,
`order` decides which entry is which layer, `layout` turns entries into the weights of a network, `weights` puts it
together; `results` writes reports as arrays.
"""

from validation.errors import WeightsError

from .torch_module import from_torch
from .weights import LoadedWeights, file_digest, load_weights, read_weights, save_weights

__all__ = ["LoadedWeights", "WeightsError", "file_digest", "from_torch", "load_weights", "read_weights", "save_weights"]
