"""The deployer's rules: pure functions and frozen values. No I/O, no framework, no protobuf."""
