"""The report of a run on one page, which opens from disk, without scripts and without the network.

Every figure on it is a ``<data>`` element. It holds the exact value, and in its title the file and the place in that
file (a JSON pointer) that the value was read from. The same facts give the same bytes.
"""

from pipeline.reporting.page.facts import Facts
from pipeline.reporting.page.render import render

__all__ = ["Facts", "render"]
