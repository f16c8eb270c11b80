"""Which column each header means: one TOML file for each tool or publication that writes CICFlowMeter's features."""
