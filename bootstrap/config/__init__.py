"""What stands in `config/`, and what people do with it: explain, compare, lint, edit, bring in and out. All pure."""
