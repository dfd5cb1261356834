"""Code of services that comes from elsewhere: fetched, unpacked by somebody without rights, put beside what runs."""
