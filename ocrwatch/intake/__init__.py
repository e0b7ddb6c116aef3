"""From a byte in an inbox to a settled file: arrivals, mounts, settle and formats."""
