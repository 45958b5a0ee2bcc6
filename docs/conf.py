"""How the documentation site is built: `make docs`."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import warnings
from pathlib import Path
from typing import Any
from weakref import WeakSet

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "extensions")]
os.environ.setdefault("MPLBACKEND", "Agg")

project = "Umwelt"
author = "The Umwelt developers"
release = version = importlib.metadata.version("umwelt-dnn")
copyright = author

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
    "bibliography",
    "diagrams",
    "docstrings",
    "mathml",
    "unbroken",
]
exclude_patterns = ["tutorial/*", "README.md", "generated/*/*.ipynb"]
templates_path: list[str] = []
default_role = "py:obj"
highlight_language = "none"  # equations in docstrings
suppress_warnings = ["config.cache"]  # the gallery's scraper is a function

# Mathematics (extensions/mathml.py).
html_math_renderer = "mathml"
math_eqref_format = "{number}"
myst_enable_extensions = ["dollarmath", "deflist"]
myst_dmath_double_inline = True
myst_heading_anchors = 3

# Notebooks run at every build; one that fails ends it.
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True

# References (extensions/bibliography.py).
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "keyed"

# API pages from docstrings (extensions/docstrings.py).
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "undoc-members": False}
autodoc_type_aliases = {
    name: name for name in ("ArrayLike", "Array", "HostArray", "Real", "Complex", "Report", "Source", "Draw", "Seed")
}
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True

# Appearance.
html_theme = "furo"
html_title = "Umwelt"
html_static_path = ["static", "generated/static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options: dict[str, Any] = {"navigation_with_keys": True}


_seen: WeakSet[Any] = WeakSet()


def figures(block: tuple[str, str, int], block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """The figures that a block of a script made: those of pyplot, and `Figure` objects bound to a name.

    The functions of `validation.figures` leave pyplot alone, so that the gallery's own scraper would miss them.
    """
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure
    from sphinx_gallery.scrapers import figure_rst, matplotlib_scraper

    _seen.update(plt.figure(number) for number in plt.get_fignums())
    rst = str(matplotlib_scraper(block, block_vars, gallery_conf))
    paths = []
    for value in list(block_vars["example_globals"].values()):
        if isinstance(value, Figure) and value not in _seen:
            paths.append(next(block_vars["image_path_iterator"]))
            value.savefig(paths[-1], dpi=110)
            _seen.add(value)
    return rst + (figure_rst(paths, gallery_conf["src_dir"]) if paths else "")


sphinx_gallery_conf = {
    "examples_dirs": [str(HERE / "tutorial"), str(HERE.parent / "examples")],
    "gallery_dirs": ["generated/tutorial", "generated/gallery"],
    "filename_pattern": r"\.py",
    "image_scrapers": (figures,),
    "within_subsection_order": "FileNameSortKey",
    "write_computation_times": False,
    "capture_repr": (),
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "download_all_examples": False,
    "abort_on_example_error": True,
    "plot_gallery": True,
    "min_reported_time": 10_000,
    "copyfile_regex": r".*\.rst",
}
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
