"""The box as an instance of EC2: what it tells, joins and obeys. Each module is a duty of the watch."""
