"""`golden demo`: the main job, on real data, and an exit code that says whether it really happened."""
