"""The repository of configuration directories on disk: read, written, and its past."""
