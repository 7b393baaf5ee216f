"""What goes wrong by a user's data, files or wishes: one line that says what, where and the remedy."""


class WorkflowError(ValueError):
    """A table, file or request that cannot be used; its text is one line for the user."""


class ModelFileError(WorkflowError):
    """A file that is no model of ours, or a damaged or a newer one."""
