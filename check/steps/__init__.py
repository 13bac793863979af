"""The steps of the checklist, one file per step or per few related steps."""
