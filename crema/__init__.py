"""crema: an inference cluster for images. One call, many models."""

__version__ = "0.1.0"
