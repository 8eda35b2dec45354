"""Background jobs: a picture goes in, the answer is there later, and nothing is lost in between."""
