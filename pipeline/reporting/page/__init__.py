"""The report of a run on one page that needs nothing but itself: it opens from disk, without script or network.

Every figure on it is a ``<data>`` element that carries the exact value and, in its title, the file and the place in
that file (a JSON pointer) that it was taken from. The same facts give the same bytes.
"""

from pipeline.reporting.page.facts import Facts
from pipeline.reporting.page.render import render

__all__ = ["Facts", "render"]
