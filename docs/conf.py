"""Sphinx: how the documentation is built (`make docs`). Nothing is fetched."""

from colasearch import __version__

project = "colasearch"
author = "the colasearch authors"
copyright = "2026, the colasearch authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_heading_anchors = 4  # links such as results.md#how-fast-is-it, as code hosts make them
highlight_language = "none"

# Docstrings are Google's; types stand in the signatures.
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"colasearch {release}"
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
