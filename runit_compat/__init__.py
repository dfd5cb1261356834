"""runit compatibility: sv, chpst and service directories, in and out."""
