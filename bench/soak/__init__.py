"""An hour of real work: what the daemon holds at the end that it did not hold at the beginning."""
