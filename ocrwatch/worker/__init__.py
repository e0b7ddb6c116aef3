"""Supervised child processes: frames, the worker's side (child) and the parent's side (process)."""
