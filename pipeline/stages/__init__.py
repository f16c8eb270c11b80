"""One file for each DVC stage; ``frame.launch`` gives each the same frame.

Where a flow keeps a process warm, a stage that is started as a program runs there, and this import never returns.
"""

from pipeline.base import warm

warm.hand_over("pipeline.stages")
