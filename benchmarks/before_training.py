"""How far rung R7 reaches: training predicted from freshly drawn networks, over width, depth, rate, examples, labels.

    python benchmarks/before_training.py [--data FOLDER|ZIP] [--networks 5] [--only "width 256"] [--out FILE]

Perceptrons on the digits, or on images averaged over blocks; batches of 32, momentum 0.9. The learning rate is
`RATE`/width times a factor, so that the outputs of all widths move at one speed. Of every case: `networks` trained
networks beside the law of `FRESH` fresh ones. Per recorded epoch:

L1         of R7, energies in the trained network's rms; ``shape``: each law in its own rms
floor      the same for the law of all trained networks but one beside that one: what a perfect law of networks reaches
controls   ``start``: c of epoch 0; ``size``: a random active set of the predicted size; ``true``: the trained network's
           own c, on the signals of fresh networks (shapes)
corrected  R7 once the kernels are read again along the predicted path (`corrected_outputs`), and with the signals moved
moved      relative change of the kernel: of the trained network, and as fresh networks foretell it

At the end: the claim that what is foretold of the kernel's motion tells L1 in advance, and exponents in the width. A
finished case is kept, so that a run goes on where it was stopped.
"""

from __future__ import annotations
