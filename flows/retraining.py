"""The old name of ``flows.drift_check``, for one version."""

import sys
import warnings

from flows.drift_check import main

if __name__ == "__main__":
    warnings.warn("python -m flows.retraining is now python -m flows.drift_check", FutureWarning, stacklevel=1)
    sys.exit(main())
