"""What can stop a measurement."""


class MeasureError(Exception):
    """The measurement cannot be made as asked; the message says what to do."""
