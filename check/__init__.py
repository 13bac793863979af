"""The handover checklist of a model package: `crema check`, and what `crema new`, `try` and `diff` share with it."""
