"""What governance knows, without I/O: facts, policies, verdicts, what served, and the tree that proves the log."""
