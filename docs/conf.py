"""Sphinx's settings. The pages it reads are gathered by docs/make; see `bash ci/site.sh --help`."""

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

project = "bdgan_lib"
author = "The bdgan_lib authors"
html_title = "bdgan_lib"
language = "en"

_pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
repository = tomllib.loads(_pyproject.read_text("utf-8"))["project"]["urls"]["Repository"]

extensions = ["myst_nb"]
myst_enable__pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
repository = tomllib.loads(_pyproject.read_text("utf-8"))["project"]["urls"]["Repository"]

extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are committed as they ran
nb_ipywidgets_js = {}  # widgets need a kernel, and their scripts would come from elsewhere
nb_merge_streams = True

add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"
smartquotes = False  # quotes and dashes stand as they were written

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/icon.svg"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5cad", "color-brand-content": "#0b5cad"},
    "dark_css_variables": {"color-brand-primary": "#7cb7f5", "color-brand-content": "#7cb7f5"},
    "top_of_page_buttons": [],
    "footer_icons": [{"name": "Repository", "url": repository, "html": "Repository", "class": ""}],
}
