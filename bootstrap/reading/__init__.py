"""Files that people write → values, strictly: nothing is guessed, and all that is wrong is told at once. All pure."""
