"""What can be said of files without asking a person."""
