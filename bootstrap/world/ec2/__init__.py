"""The box as an instance of EC2: its metadata, and calls of AWS that are made for it in short-lived children."""
