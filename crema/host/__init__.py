"""What our own processes share: configuration, channel, HTTP shell, metrics, logs. Never enters a model's virtualenv."""
