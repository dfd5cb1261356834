"""What ``doctor`` reads of this machine, one module for each place that it looks at; nothing here changes anything."""
