"""Child processes: frames, the child's side and its confinement, the parent's side, and trees of files that one reaches."""
