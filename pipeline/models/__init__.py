"""STAGE 1 and STAGE 2: encoders, detectors, and how they are trained."""
