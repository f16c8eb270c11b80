"""PREPROCESS: from records to features and splits."""
