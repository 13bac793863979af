"""The coordinator: one call, many models. Resolves versions, fans a photo out, merges what the minions say."""
