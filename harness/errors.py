"""The one exception a user's mistake ends in: printed as a single line, exit code 2, no traceback."""


class UserError(Exception):
    """What is wrong, where, and the remedy, in one line."""
