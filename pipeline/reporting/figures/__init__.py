"""Arrays -> matplotlib ``Figure``, in one look; ``svg(figure)`` makes the file's bytes.

Nothing here draws on a screen, keeps a figure alive or changes a global setting. Titles say what is to be seen,
captions how many records it is seen on.
"""
