"""Arrays -> matplotlib ``Figure``, all in one style; ``svg(figure)`` makes the bytes of the file.

Nothing here draws on a screen, keeps a figure alive or changes a global setting. The title says what the figure
shows, the caption on how many records.
"""
