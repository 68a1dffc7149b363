"""Views: what a plan, an execution and its outcome look like, one view a file. Decides nothing."""
