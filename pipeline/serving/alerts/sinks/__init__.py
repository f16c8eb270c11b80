"""What alerts are handed to: logs that other tools read, receivers on the network, tables."""
