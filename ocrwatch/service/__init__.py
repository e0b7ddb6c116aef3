"""What the daemon tells and whom: systemd and the log, the control socket with `status` and `why`, metrics, hooks."""
