"""``python -m flows.triage``."""

import sys

from flows import arguments
from flows.triage import main

if __name__ == "__main__":
    arguments.parse("triage")  # help, and what is misspelt, before anything heavy is imported
    sys.exit(main())
