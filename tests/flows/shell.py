"""Commands of a shell, which must succeed."""

import subprocess
import sys


def sh(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dvc(*words):
    return sh(sys.executable, "-m", "dvc", *words)
