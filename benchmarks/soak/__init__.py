"""The long windows of the fault table: a real cluster under steady load, one fault after another. `make soak`."""
