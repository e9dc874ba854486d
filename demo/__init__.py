"""`make demo`: a dozen files, a failing server, a process killed in the middle. Nothing is lost."""
