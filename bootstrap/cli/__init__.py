"""One module per verb or verb group; the only code that prints or exits."""
