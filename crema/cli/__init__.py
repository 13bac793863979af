"""The `crema` command: one file per verb. What is heavy is imported inside the verb that needs it."""
