"""What a box of EC2 decides by: notices, phases of a boot, herds, launch loops. All pure; the duties are in `ec2/`."""
