"""The old name of ``flows.drift_check``, for one version."""

import sys
import warnings

from flows import arguments

if __name__ == "__main__":
    warnings.warn("python -m flows.retraining is now python -m flows.drift_check", FutureWarning, stacklevel=1)
    arguments.parse("drift_check")

from flows.drift_check import drift_check, main

__all__ = ["drift_check", "main"]  # a server may still name this file as the entrypoint of its deployment

if __name__ == "__main__":
    sys.exit(main())
