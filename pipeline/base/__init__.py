"""What every room stands on: errors, the plug-in registry, samples, durable writes, parallel reading."""
