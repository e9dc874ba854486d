"""What a user would pick instead: a module for each, imported only where it is installed."""
