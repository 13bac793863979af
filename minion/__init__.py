"""The minion tier: one replica of one model version, refusing politely what it could not answer in time."""
