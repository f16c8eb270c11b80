"""The Python door: a model that raises calibrated alarms, fitted, loaded and asked in the manner of scikit-learn."""
