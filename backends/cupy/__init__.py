"""The same mathematics on a CUDA device, with kernels for images, gates and enumeration."""
