"""The daemon's surroundings: systemd, control socket, metrics, hooks."""
