"""Captured packets become records: frames are read, grouped into flows, and each flow is measured."""
