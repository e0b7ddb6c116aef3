"""From a page's raw text to guarded, listed edits: the judging is pure; the model and its word lists live in a worker."""
