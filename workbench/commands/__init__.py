"""What the command `workbench` does, one module a subject; workbench/cli.py holds the words and options."""
