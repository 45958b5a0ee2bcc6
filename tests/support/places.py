"""Where things stand: the checkout, files of other software, and real data beside the checkout where there are any."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = Path(__file__).parent / "files"
CIFAR_ZIP = Path(os.environ.get("UMWELT_CIFAR_ZIP", ROOT.parent / "shared" / "data" / "cifar10-jpeg.zip"))
