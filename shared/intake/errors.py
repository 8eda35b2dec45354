"""Why a file is not taken."""


class Refused(Exception):
    """The file cannot be served as asked; the message says why and what to do."""
