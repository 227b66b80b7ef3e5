"""A project as the training text has it: an activity module, a workflow module with a relative import, a worker."""
