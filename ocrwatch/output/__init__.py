"""What others read: durable files, the sidecar, the archive."""
