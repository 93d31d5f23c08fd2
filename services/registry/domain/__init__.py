"""What a model, a version, a dataset and an alias are, and what may become of them: pure, without I/O."""
