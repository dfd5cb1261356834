"""Everything that blocks, fails or changes the machine. Stages never import from here."""
