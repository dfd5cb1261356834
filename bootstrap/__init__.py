"""bootstrap: a box reads its tags and becomes what they say."""

__version__ = "0.1.0"
