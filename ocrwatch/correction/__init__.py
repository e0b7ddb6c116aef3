"""From a page's raw text to guarded, listed edits: channel, candidates, guard and corrector are pure; model and worker are not."""
